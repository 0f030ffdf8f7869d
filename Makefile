# paligemma: one Go binary on ggml. `make` builds bin/paligemma.
#
#   make              build for the machine at hand
#   make demo         build, then ask the built-in model about a picture
#   make eval         mark the built-in model, in several types, on 1000 drawn scenes
#   make test         build, vet, all tests
#   make NATIVE=0     a portable baseline (x86-64 with AVX2) instead of -march=native
#   make CUDA=1       build the plug-in for NVIDIA GPUs, too (CUDA_HOME=DIR, CUDA_ARCH=90-real)
#   make VULKAN=1     build the plug-in for other GPUs, too
#   make METAL=0      leave Metal out, which is linked in on Macs with Apple's processors
#   make RPC=1        build ggml's RPC backend, too: for make test-rpc, not for users
#   make ARCH=arm64   for another processor, by cross compilers
#   make TOKENIZERS=0 without Hugging Face's tokenizers library: Gemma's own tokenizers only
#   make HEIF=1       read HEIC and AVIF, too (docs/architecture.md says why not by default)
#   make GGML_SRC=/path/to/ggml          build from an upstream ggml checkout
#   make install PREFIX=/usr/local       install the binary, plug-ins, man pages and completions
#   make dist [ARCH=arm64]               pack a release, as docs/install.md describes it
#   make docs         rewrite what the documentation shows: outputs, pictures, the screencast
#   make bench fmt lint race asan ubsan fuzz clean
SHELL  := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory

NATIVE ?= 1
CUDA   ?= 0
VULKAN ?= 0
HEIF   ?= 0
RPC    ?= 0
TOKENIZERS ?= 1
PREFIX ?= /usr/local
DESTDIR ?=
GGML_SRC ?=
FUZZTIME ?= 30s
GO ?= go
# What cgo compiles with.
CGO_CC := $(or $(shell $(GO) env CC 2>/dev/null),cc)

include scripts/dist/arch.mk

B       := build
JOBS    := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
OS      := $(shell uname -s)
METAL   ?= $(if $(filter Darwin-arm64,$(OS)-$(shell uname -m)),1,0)
VERSION := $(shell ./scripts/version/describe.sh)

onoff    = $(if $(filter 1 on ON yes true,$(1)),ON,OFF)
FLAVOR  := $(if $(filter ON,$(call onoff,$(NATIVE))),native,portable)$(CROSS:%=-%)$(if $(filter ON,$(call onoff,$(METAL))),-metal)$(if $(GGML_SRC),-src)
GGML_BUILD := $(B)/ggml-$(FLAVOR)
RUST_BUILD := $(B)/tokenizers$(CROSS:%=-%)
TOKENIZERS_LIBRARY := $(if $(filter ON,$(call onoff,$(TOKENIZERS))),$(RUST_BUILD)/$(if $(CROSS),$(RUST_TARGET)/)release/libtokenizers.a)

# The link flags of each backend, after -lggml and before -lggml-base.
LIBS_BACKEND := -lggml-cpu
LIBS_SYSTEM  := -lm -lpthread
ifeq ($(OS),Darwin)
LIBS_SYSTEM += -lc++ -framework Accelerate -framework Foundation
else
# exports.o is a linker script: what the binary exports to plug-ins.
LIBS_SYSTEM += $${SRCDIR}/../../$(B)/lib/exports.o -rdynamic -lstdc++ -ldl
endif
ifeq ($(call onoff,$(METAL)),ON)
LIBS_BACKEND += -lggml-metal
LIBS_SYSTEM  += -framework Metal -framework MetalKit
endif

# GPU backends that the binary loads where it finds them.
PLUGINS := $(if $(filter ON,$(call onoff,$(CUDA))),cuda) $(if $(filter ON,$(call onoff,$(VULKAN))),vulkan)
ifneq ($(and $(CROSS),$(strip $(PLUGINS))),)
$(error GPU plug-ins are built on the machine they are for: leave ARCH=$(ARCH) out, or CUDA=1 and VULKAN=1)
endif
# Empty: where nvcc is, or else where NVIDIA puts it. Not all shells know a ~ after an = sign,
# and dist and CMake work in other folders.
CUDA_HOME ?=
override CUDA_HOME := $(or $(patsubst ~/%,$(HOME)/%,$(CUDA_HOME)),$(patsubst %/bin/nvcc,%,$(shell command -v nvcc 2>/dev/null)),/usr/local/cuda)
override CUDA_HOME := $(if $(filter /%,$(CUDA_HOME)),,$(CURDIR)/)$(CUDA_HOME)
ifneq ($(and $(strip $(PLUGINS)),$(filter-out Linux,$(OS))),)
$(error plug-ins are for Linux; Macs have Metal, which is linked in)
endif
# Empty: that of the GPU at hand; without one, or with NATIVE=0, all that ggml knows.
CUDA_ARCH ?=

GO_LDFLAGS := -s -w -X paligemma/internal/cli.version=$(VERSION) $(DIST_LDFLAGS)
# nodynamic: without it the HEIC and AVIF modules look for libraries of the system.
TAG_LIST   := $(if $(filter ON,$(call onoff,$(HEIF))),heif nodynamic) $(if $(filter ON,$(call onoff,$(RPC))),rpc) $(if $(filter OFF,$(call onoff,$(TOKENIZERS))),notokenizers)
TAGS       := $(if $(strip $(TAG_LIST)),-tags '$(strip $(TAG_LIST))')
GO_BUILD   := $(GO_ENV) $(GO) build $(TAGS) -trimpath -ldflags '$(GO_LDFLAGS)'

.PHONY: all native tools-cuda tools-vulkan plugin-cuda plugin-vulkan demo docs eval test test-plain test-rpc test-isa race asan ubsan fuzz bench fmt fmt-check lint install uninstall clean tools force test-qemu dist package

all: $(PLUGINS:%=tools-%) bin/paligemma $(PLUGINS:%=plugin-%)

bin/paligemma: native force
	@mkdir -p bin
	@$(GO_BUILD) -o $@ ./cmd/paligemma

# --- native parts -----------------------------------------------------------

define need
	@command -v $(1) >/dev/null 2>&1 || { echo "make: $(1) is missing: $(2)" >&2; exit 1; }
endef

tools:
	$(call need,$(GO),install Go 1.26 or newer)
	$(call need,cmake,install CMake 3.18 or newer)
	$(call need,cargo,install Rust; its cargo builds the tokenizers library)
	$(if $(CROSS),$(call need,$(TRIPLE)-g++,install a cross compiler: g++-$(TRIPLE)))
	$(call need,$(firstword $(CGO_CC)),install a C compiler)
	$(call need,c++,install a C++ compiler)

tools-cuda:
	@test -x '$(CUDA_HOME)/bin/nvcc' || { echo "make: $(CUDA_HOME)/bin/nvcc is missing: set CUDA_HOME, or fetch a toolkit with scripts/cudatoolkit DIR" >&2; exit 1; }

tools-vulkan:
	$(call need,glslc,install it with Vulkan's headers and loader and with SPIRV-Headers: docs/install.md)
	@glslc --version > /dev/null || { echo "make: glslc does not run" >&2; exit 1; }

native: $(B)/link.stamp $(if $(filter ON,$(call onoff,$(RPC))),$(B)/rpc.stamp)

# The generated Go files carry the flags of the chosen backends and a hash of
# the archives: without it Go would neither relink nor rerun cached tests when
# an archive changes. Both are rewritten only when their text changes.
# ggml-base becomes one object: plug-ins take functions of it that the binary
# itself does not, and the linker leaves out objects that nothing asks for.
$(B)/link.stamp: $(GGML_BUILD)/built $(GGML_BUILD)/tree $(if $(TOKENIZERS_LIBRARY),$(RUST_BUILD)/built) $(B)/flavor third_party/ggml/exports.ld Makefile scripts/dist/arch.mk
	@mkdir -p $(B)/lib
	@rm -f $(B)/lib/* && rm -rf $(B)/include
	@find $(GGML_BUILD) -name 'libggml*.a' -exec cp {} $(B)/lib/ \;
ifneq ($(OS),Darwin)
	@$(LINK_CC) -r -nostdlib -o $(B)/lib/ggml-base.o -Wl,--whole-archive $(B)/lib/libggml-base.a
	@rm $(B)/lib/libggml-base.a && $(LINK_AR) rcsD $(B)/lib/libggml-base.a $(B)/lib/ggml-base.o && rm $(B)/lib/ggml-base.o
	@cp third_party/ggml/exports.ld $(B)/lib/exports.o
endif
	$(if $(TOKENIZERS_LIBRARY),@cp $(TOKENIZERS_LIBRARY) $(B)/lib/)
	@cp -R "$$(cat $(GGML_BUILD)/source)/include" $(B)/include
	@$(GO) run ./scripts/linkflags -lib $(B)/lib -flavor '$(FLAVOR)' -tree "$$(cat $(GGML_BUILD)/tree)" -- -lggml $(LIBS_BACKEND) -lggml-base '$(LIBS_SYSTEM)'
	@touch $@

# Beside the other archives, of which link.stamp makes the folder anew.
$(B)/rpc.stamp: $(B)/link.stamp
	@cmake --build $(GGML_BUILD) -j $(JOBS) --target paligemma-rpc >> $(GGML_BUILD)/cmake.log 2>&1 \
	  || { tail -n 30 $(GGML_BUILD)/cmake.log >&2; exit 1; }
	@cp $(GGML_BUILD)/libpaligemma-rpc.a $(B)/lib/
	@touch $@

# Remembers what build/lib holds.
$(B)/flavor: force
	@mkdir -p $(B)
	@echo '$(FLAVOR) $(TOKENIZERS_LIBRARY)' | cmp -s - $@ || echo '$(FLAVOR) $(TOKENIZERS_LIBRARY)' > $@

# A checkout of the user's own may change at any time: CMake looks each time.
$(GGML_BUILD)/built: third_party/ggml/CMakeLists.txt scripts/dist/arch.mk third_party/ggml/built_for.c internal/ggml/instructions.h internal/ggml/barrier.h $(GGML_BUILD)/source $(if $(GGML_SRC),force) | tools
	@echo "building ggml ($(FLAVOR); a minute or two the first time)"
	@cmake -S third_party/ggml -B $(GGML_BUILD) -DCMAKE_BUILD_TYPE=Release \
	  -DGGML_SRC="$$(cat $(GGML_BUILD)/source)" \
	  $(CMAKE_ARCH) -DGGML_NATIVE=$(call onoff,$(NATIVE)) -DGGML_METAL=$(call onoff,$(METAL)) \
	  > $(GGML_BUILD)/cmake.log 2>&1 || { tail -n 20 $(GGML_BUILD)/cmake.log >&2; exit 1; }
	@cmake --build $(GGML_BUILD) -j $(JOBS) >> $(GGML_BUILD)/cmake.log 2>&1 \
	  || { tail -n 30 $(GGML_BUILD)/cmake.log >&2; exit 1; }
ifeq ($(GGML_SRC),)
	@touch $@
else
	@[ -f $@ ] && [ -z "$$(find $(GGML_BUILD) -name 'libggml*.a' -newer $@)" ] || touch $@
endif

ifeq ($(GGML_SRC),)
$(GGML_BUILD)/source: $(B)/ggml-src.stamp
	@mkdir -p $(@D)
	@(cd $(B)/ggml-src && pwd -P) > $@
else
$(GGML_BUILD)/source: force
	@test -f '$(GGML_SRC)/include/ggml.h' || { echo "make: GGML_SRC=$(GGML_SRC) is not a ggml source tree" >&2; exit 1; }
	@mkdir -p $(@D)
	@p=$$(cd '$(GGML_SRC)' && pwd -P); echo "$$p" | cmp -s - $@ || echo "$$p" > $@
endif

# The hash that binary and plug-ins carry: they go together where it is the same.
$(GGML_BUILD)/tree: $(GGML_BUILD)/source $(if $(GGML_SRC),force,third_party/ggml/tree.sha256)
ifeq ($(GGML_SRC),)
	@cp third_party/ggml/tree.sha256 $@
else
	@h=$$($(GO) run ./scripts/cratetree -hash '$(GGML_SRC)/include' '$(GGML_SRC)/src'); echo "$$h" | cmp -s - $@ || echo "$$h" > $@
endif

# Fetched again if cargo's cache was cleaned meanwhile.
$(B)/ggml-src.stamp: $(if $(wildcard $(B)/ggml-src/include/ggml.h),,force)
$(B)/vulkan-src.stamp: $(if $(wildcard $(B)/vulkan-src/vulkan/vulkan.hpp),,force)
$(B)/ggml-src.stamp $(B)/vulkan-src.stamp: $(B)/%-src.stamp: third_party/%/Cargo.toml third_party/%/tree.sha256 | tools
	@mkdir -p $(B)
	@$(GO) run ./scripts/cratetree third_party/$* $(B)/$*-src
	@touch $@

# --- plug-ins ---------------------------------------------------------------

PLUGIN_SRC := $(if $(GGML_SRC),-src)
CUDA_NATIVE = $(if $(filter ON,$(call onoff,$(NATIVE))),$(shell nvidia-smi -L 2>/dev/null | grep -q GPU && echo 1))
# Split at spaces: no path among them may have one.
PLUGIN_CUDA   = -DCUDAToolkit_ROOT=$(CUDA_HOME) -DCMAKE_CUDA_COMPILER=$(CUDA_HOME)/bin/nvcc -DGGML_NATIVE=$(call onoff,$(CUDA_NATIVE)) \
  -DRELEASE=$(if $(RELEASE),ON,OFF) $(if $(CUDA_ARCH),-DCMAKE_CUDA_ARCHITECTURES=$(CUDA_ARCH),-UCMAKE_CUDA_ARCHITECTURES)
# With the version, which nothing asks for: another one makes all shaders anew.
PLUGIN_VULKAN = -DVulkan_INCLUDE_DIR=$$(cd $(B)/vulkan-src && pwd -P) -DVulkan_GLSLC_EXECUTABLE=$$(command -v glslc) \
  -DSHADERC=$$(glslc --version | sed -n 's/^shaderc *//p' | tr ' ' ,)

plugin-cuda plugin-vulkan: plugin-%: $(B)/plugin-%$(PLUGIN_SRC)/built bin/paligemma
	@rm -f bin/libggml-$*-*.so
	@cp -p $(<D)/libggml-$*-*.so bin/
	@./scripts/plugincheck bin/paligemma bin/libggml-$*-*.so

$(B)/plugin-%$(PLUGIN_SRC)/built: third_party/ggml/CMakeLists.txt third_party/ggml/plugin.c third_party/ggml/plugin.map $(GGML_BUILD)/tree $(B)/plugin-%$(PLUGIN_SRC)/options $(if $(GGML_SRC),force) | tools
	@echo "building ggml's $* backend (log in $(@D)/cmake.log)"
	@rm -f $(@D)/*.so
	@tree=$$(cat $(GGML_BUILD)/tree); cmake -S third_party/ggml -B $(@D) -DCMAKE_BUILD_TYPE=Release \
	  -DGGML_SRC="$$(cat $(GGML_BUILD)/source)" -DPLUGIN=$* -DTREE=$$tree -DTREE_SHORT=$${tree:0:12} \
	  $$(cat $(@D)/options) > $(@D)/cmake.log 2>&1 || { tail -n 20 $(@D)/cmake.log >&2; exit 1; }
	@cmake --build $(@D) -j $(JOBS) --target plugin >> $(@D)/cmake.log 2>&1 || { tail -n 30 $(@D)/cmake.log >&2; exit 1; }
	@! grep -q '^-- GL_KHR_cooperative_matrix not supported' $(@D)/cmake.log || \
	  echo "make: this glslc knows no cooperative matrices: the plug-in works, and on GPUs that have them is slower than one made with glslang 13 or newer" >&2
	@touch $@

$(B)/plugin-cuda$(PLUGIN_SRC)/options: force | tools-cuda
	@mkdir -p $(@D)
	@echo "$(PLUGIN_CUDA)" | cmp -s - $@ || echo "$(PLUGIN_CUDA)" > $@

$(B)/plugin-vulkan$(PLUGIN_SRC)/options: $(B)/vulkan-src.stamp force | tools-vulkan
	@mkdir -p $(@D)
	@echo "$(PLUGIN_VULKAN)" | cmp -s - $@ || { rm -rf $(@D) && mkdir $(@D) && echo "$(PLUGIN_VULKAN)" > $@; }

# --- the tokenizers library -------------------------------------------------

# The folder of the Go module names its version.
$(RUST_BUILD)/module: force | tools
	@mkdir -p $(@D)
	@$(GO) mod download
	@$(GO) list -m -f '{{.Path}} {{.Version}}' github.com/daulet/tokenizers | cmp -s - $@ || \
	  $(GO) list -m -f '{{.Path}} {{.Version}}' github.com/daulet/tokenizers > $@

$(RUST_BUILD)/built: $(RUST_BUILD)/module
	@echo "building the tokenizers library (two minutes the first time)"
	@dir=$$($(GO) list -m -f '{{.Dir}}' github.com/daulet/tokenizers); \
	  sep=$$(printf '\037'); \
	  CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$$dir=tokenizers$$sep--remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=cargo$$sep--remap-path-prefix=$$PWD/$(RUST_BUILD)=build" \
	  cargo build --quiet --release --locked $(CROSS:%=--target $(RUST_TARGET)) --manifest-path "$$dir/Cargo.toml" --target-dir "$$PWD/$(RUST_BUILD)" \
	  > $(B)/tokenizers.log 2>&1 || { tail -n 20 $(B)/tokenizers.log >&2; $(RUST_HINT) exit 1; }
	@touch $@

# The built-in model looks at a drawn picture that it was not trained on.
DEMO := testdata/scenes/demo.png
show = @echo '$$ paligemma $(1)' && bin/paligemma --quiet $(1)

demo: bin/paligemma
	@rm -rf $(B)/demo && mkdir -p $(B)/demo
	$(call show,caption $(DEMO))
	$(call show,caption $(DEMO) --lang es)
	$(call show,vqa $(DEMO) --prompt "what color is the ring?" --prompt "how many shapes are there?")
	$(call show,ocr $(DEMO))
	$(call show,detect "ring ; star ; sign" $(DEMO) --draw $(B)/demo/boxes.png)
	$(call show,segment circle $(DEMO) --draw $(B)/demo/mask.png --mask-dir $(B)/demo/masks)
	@echo 'Drawn into $(B)/demo/boxes.png and $(B)/demo/mask.png. The answers are those of a small built-in model,'
	@echo 'trained on drawn shapes: for photographs convert a released checkpoint (README, "Get a model").'

# What the documentation shows is what the program does: the outputs below the
# commands of README.md and docs, the pictures, the screencast. See CONTRIBUTING.md.
SHAPES := testdata/scenes/shapes.jpg
IMAGES := docs/images
drawn   = env -u PALIGEMMA_MODEL bin/paligemma --quiet $(1) --overwrite --draw $(IMAGES)/$(2) >/dev/null

docs: bin/paligemma
	$(call drawn,detect "square ; cross ; circle" $(SHAPES),boxes.jpg)
	$(call drawn,segment cross $(SHAPES),mask.jpg)
	$(call drawn,parse "$$(cat scripts/pictures/cat.txt)" --image testdata/photos/chelsea.png,parse-draw.jpg)
	@if python3 -c 'import numpy' 2>/dev/null; then mkdir -p $(B) && text=$$(python3 scripts/pictures/make.py $(B)/masks.npz) && \
	  $(call drawn,parse "$$text" --image testdata/photos/chelsea.png --mask-decoder $(B)/masks.npz,masks.jpg); \
	  else echo 'make: $(IMAGES)/masks.jpg stays as it is: it needs python3 with numpy' >&2; fi
	$(GO) run ./scripts/screencast bin/paligemma testdata/scenes $(IMAGES)/tour.svg
	$(GO) test $(TAGS) ./internal/doctest -run TestDocumentation -count=1 -v -update

# Marks the built-in model in several types on scenes drawn for the occasion.
SCENES ?= 1000
SEED   ?= 1
eval: bin/paligemma
	@$(GO) run ./scripts/eval -scenes $(SCENES) -seed $(SEED) $(EVALFLAGS)

# --- checks -----------------------------------------------------------------

test: native fmt-check
	@$(GO) vet $(TAGS) ./...
	@$(GO) test $(TAGS) ./...

race: native
	@$(GO) test -race ./...

# What other devices compute, on the CPU: graphs of ggml's own operations only.
test-plain: native
	@PALIGEMMA_TEST_DEVICE=plain $(GO) test ./internal/ggml/ ./internal/model/ ./internal/engine/

# A device whose memory is apart from the program's: ggml's RPC backend, with a
# server in the test's own process that computes on the CPU.
test-rpc: native $(B)/rpc.stamp
	@PALIGEMMA_TEST_DEVICE=rpc0 $(GO) test -tags rpc ./internal/ggml/ ./internal/model/ ./internal/engine/
	@$(GO) test -tags rpc ./internal/cli/ -run '^TestDeviceLost'

# What processors without newer instructions compute, on one that has them: custom kernels are those for ISA
# (AVX2, AVX512, VNNI) and below. With NATIVE=0 ggml's own are for AVX2.
ISA ?= AVX2
test-isa: native
	@CGO_CFLAGS='-O2 -g -DPG_HIGHEST_ISA=ISA_$(ISA)' $(GO) test $(TAGS) ./...

# Address sanitizer on both sides of the bindings (gcc or clang needed). A test
# asks for more memory than there is, and wants an error for it. What the sanitizer holds
# back of freed memory would look like growth to a test of the engine.
asan: native
	@ASAN_OPTIONS=allocator_may_return_null=1 $(GO) test -asan ./internal/ggml/ ./internal/model/
	@PALIGEMMA_TEST_DEVICE=plain ASAN_OPTIONS=allocator_may_return_null=1 $(GO) test -asan ./internal/ggml/ ./internal/model/
	@ASAN_OPTIONS=allocator_may_return_null=1:quarantine_size_mb=1 $(GO) test -asan ./internal/engine/

# Undefined behavior of the kernels: shifts, conversions, pointers beyond their arrays.
ubsan: native
	@CGO_CFLAGS='-O1 -g -fsanitize=undefined -fno-sanitize-recover=undefined' CGO_LDFLAGS='-fsanitize=undefined' $(GO) test ./internal/ggml/

# The tests of some packages on an emulated processor: make NATIVE=0 test-qemu, make ARCH=arm64 test-qemu.
# scripts/emulated runs each in a process of its own, and one on each core: so packages come one by one.
QEMU_PACKAGES ?= $(addprefix ./internal/,ggml model engine tokenizer gguf pillow preprocess adapter atomicfile ccitt convert draw guard half \
  jpeg mask nearest npz result safetensors sentencepiece systemd typeset)
QEMU_FLAGS    ?=
QEMU_SKIP     ?=
test-qemu: native
	$(call need,$(firstword $(QEMU)),install Debian's qemu-user)
	@$(GO_ENV) $(GO) build $(TAGS) $(QEMU_PACKAGES)
	@$(GO_ENV) $(GO) test $(TAGS) -p 1 -exec '$(CURDIR)/scripts/emulated $(QEMU)' -count=1 -timeout 2h -skip '$(QEMU_SKIP)' $(QEMU_FLAGS) $(QEMU_PACKAGES)
	@echo 'not tested there, for reasons in CONTRIBUTING.md:' $$($(GO) list -f '{{with or .TestGoFiles .XTestGoFiles}}{{$$.ImportPath}}{{end}}' ./internal/... \
	  | grep -vxF -f <($(GO) list $(QEMU_PACKAGES)) | sed 's|.*internal/||')

fuzz: native
	@./scripts/fuzz $(FUZZTIME)

bench: native
	@$(GO) test -run '^$$' -bench . -benchtime 3x ./...

fmt:
	@gofmt -w cmd internal scripts third_party
	@! command -v clang-format >/dev/null || clang-format -i internal/ggml/*.[ch]

fmt-check:
	@bad=$$(gofmt -l cmd internal scripts third_party); test -z "$$bad" || { echo "gofmt would change:" $$bad >&2; exit 1; }

lint: native fmt-check
	@$(GO) vet ./...
	@$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

# --- releases ---------------------------------------------------------------

include scripts/dist/dist.mk

# --- the rest ---------------------------------------------------------------

SHARE = $(DESTDIR)$(PREFIX)/share
BACKENDS = $(DESTDIR)$(PREFIX)/lib/paligemma
BASH_COMPLETION = $(SHARE)/bash-completion/completions/paligemma
ZSH_COMPLETION  = $(SHARE)/zsh/site-functions/_paligemma
FISH_COMPLETION = $(SHARE)/fish/vendor_completions.d/paligemma.fish

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(dir $(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION))
	install -m 755 bin/paligemma $(DESTDIR)$(PREFIX)/bin/paligemma
	rm -f $(BACKENDS)/libggml-*.so
	for f in bin/libggml-*.so; do ! test -e $$f || install -D -m 755 $$f $(BACKENDS)/$${f##*/}; done
	$(RUN) ./bin/paligemma man --dir $(SHARE)/man/man1
	$(RUN) ./bin/paligemma completion bash > $(BASH_COMPLETION)
	$(RUN) ./bin/paligemma completion zsh > $(ZSH_COMPLETION)
	$(RUN) ./bin/paligemma completion fish > $(FISH_COMPLETION)

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/paligemma $(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION)
	rm -f $(BACKENDS)/libggml-*.so
	rmdir $(BACKENDS) 2>/dev/null || true
	rm -f $(SHARE)/man/man1/paligemma.1 $(SHARE)/man/man1/paligemma-*.1

clean:
	rm -rf bin $(B) internal/ggml/link_generated.go third_party/tokenizers/hash_generated.go

force:
