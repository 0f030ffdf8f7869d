# The processor that is built for: this machine's, or that of ARCH by Debian's cross
# compilers and an emulator. Included by the Makefile.
HOST_ARCH := $(shell $(GO) env GOHOSTARCH)
ARCH      ?= $(HOST_ARCH)
CROSS     := $(filter-out $(HOST_ARCH),$(ARCH))

ifeq ($(ARCH),amd64)
TRIPLE      := x86_64-linux-gnu
MACHINE     := x86_64
RUST_TARGET := x86_64-unknown-linux-gnu
QEMU        ?= qemu-x86_64 -cpu Haswell
else ifeq ($(ARCH),arm64)
TRIPLE      := aarch64-linux-gnu
MACHINE     := aarch64
RUST_TARGET := aarch64-unknown-linux-gnu
QEMU        ?= qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu neoverse-n1
# What other builds than native ones ask of a processor. Without fp16: ggml would add up
# products of f16 weights in half precision.
CMAKE_ARCH  := -DGGML_CPU_ARM_ARCH=armv8.2-a+dotprod
else ifneq ($(CROSS),)
$(error ARCH=$(ARCH) is unknown: amd64 or arm64)
endif

ifneq ($(CROSS),)
ifneq ($(filter test test-% race asan ubsan fuzz bench lint demo docs eval,$(filter-out test-qemu,$(MAKECMDGOALS))),)
$(error $(MAKECMDGOALS) runs on this machine only: make ARCH=$(ARCH) test-qemu runs tests for $(ARCH))
endif
override NATIVE := 0
RUN         := $(QEMU)
GO_ENV      := GOOS=linux GOARCH=$(ARCH) CGO_ENABLED=1 CC=$(TRIPLE)-gcc CXX=$(TRIPLE)-g++
CMAKE_ARCH  += -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=$(MACHINE) -DCMAKE_C_COMPILER=$(TRIPLE)-gcc -DCMAKE_CXX_COMPILER=$(TRIPLE)-g++
RUST_HINT   := echo 'make: Rust lacks its library for $(RUST_TARGET) (rustup target add $(RUST_TARGET)), or build without: TOKENIZERS=0' >&2;
endif

# For releases. The C++ library is linked in, so that nothing but glibc and GCC's own library,
# which it cannot be without, is asked of a system: the archive in build/lib is found before the
# system's. GCC's own stays dynamic, for as an archive it needs glibc 2.35. Go's build ID depends
# on the folder, and is left out.
LINK_CXX := $(if $(CROSS),$(TRIPLE)-)g++
ifneq ($(STATIC_CXX),)
DIST_LDFLAGS := -buildid= -extldflags -static-libstdc++
endif
