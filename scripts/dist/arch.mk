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
# What the emulator keeps of mappings (CONTRIBUTING.md) looks like growth to it.
QEMU_SKIP   ?= ^TestFlat$$
# What other builds than native ones ask of a processor. By name: ggml's own defaults for these
# are off where SOURCE_DATE_EPOCH is set, as it is for releases.
CMAKE_ARCH  := -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_BMI2=ON -DGGML_FMA=ON -DGGML_F16C=ON
else ifeq ($(ARCH),arm64)
TRIPLE      := aarch64-linux-gnu
MACHINE     := aarch64
RUST_TARGET := aarch64-unknown-linux-gnu
# -R: within a range that is reserved, mappings take the same addresses again, of which qemu 7.2 keeps
# 24 bytes a page. Go asks for addresses from 256 GiB on. qemu-x86_64 knows no such ranges.
QEMU        ?= qemu-aarch64 -R 512G -L /usr/aarch64-linux-gnu -cpu neoverse-n1
# Without fp16: ggml would add up products of f16 weights in half precision.
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

# For releases: Go's build ID depends on the folder, and is left out. libstdc++ stays dynamic,
# for the archive that compilers of today have asks for a newer glibc than all else here.
LINK_CXX := $(if $(CROSS),$(TRIPLE)-)g++
# What makes one object of ggml-base, for plug-ins.
LINK_CC  := $(if $(CROSS),$(TRIPLE)-gcc,$(CGO_CC))
LINK_AR  := $(if $(CROSS),$(TRIPLE)-ar,$(AR))
ifneq ($(RELEASE),)
DIST_LDFLAGS := -buildid=
endif
