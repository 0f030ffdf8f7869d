# Releases. Included by the Makefile.
#
# `make dist` takes what is committed to a folder of its own and runs `make package`
# there, with nothing of the caller's environment that would change what comes out. A
# second call for the same commit goes on where the first ended.
DIST := $(B)/dist/$(ARCH)
DIST_NAME := paligemma-$(VERSION)-linux-$(ARCH)
# A repository around the folder does not count.
GIT = GIT_CEILING_DIRECTORIES='$(patsubst %/,%,$(dir $(CURDIR)))' git
COMMIT = $(shell $(GIT) rev-parse HEAD 2>/dev/null)
# Variables of the environment that compilers and linkers take options and folders from.
DIST_WITHOUT := CFLAGS CXXFLAGS CPPFLAGS LDFLAGS CGO_CFLAGS CGO_CXXFLAGS CGO_CPPFLAGS CGO_LDFLAGS CC CXX GOEXPERIMENT RUSTFLAGS \
  CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH LIBRARY_PATH LD_RUN_PATH CUDACXX CUDAFLAGS CUDAARCHS CUDAHOSTCXX NVCC_CCBIN NVCC_PREPEND_FLAGS NVCC_APPEND_FLAGS

dist: $(PLUGINS:%=tools-%) | tools
	@$(GIT) rev-parse --verify --quiet HEAD >/dev/null 2>&1 || { echo "make: a release is made of what git has: this folder is not a repository" >&2; exit 1; }
	@git diff-index --quiet HEAD -- || { echo "make: commit what was changed first: a release is made of what is committed" >&2; exit 1; }
	$(if $(filter cuda,$(PLUGINS)),@$(GO) run ./scripts/dist -toolkit -cuda '$(CUDA_HOME)')
	@[ "$$(cat $(DIST)/commit 2>/dev/null)" = $(COMMIT) ] || { rm -rf $(DIST) && mkdir -p $(DIST)/source && \
	  git archive $(COMMIT) | tar -x -C $(DIST)/source && echo $(COMMIT) > $(DIST)/commit; }
	@rm -rf $(DIST)/source/$(B)/archives $(DIST)/source/bin
	@env $(DIST_WITHOUT:%=-u %) GOFLAGS=-buildvcs=false GOAMD64=v1 GOARM64=v8.0 LC_ALL=C TZ=UTC \
	  SOURCE_DATE_EPOCH="$$(git log -1 --format=%ct $(COMMIT))" \
	  $(MAKE) -C $(DIST)/source package ARCH=$(ARCH) VERSION='$(VERSION)' NATIVE=0 HEIF=0 RPC=0 METAL=0 GGML_SRC= CUDA_HOME='$(CUDA_HOME)' RELEASE=1
	@mkdir -p dist && cp $(DIST)/source/$(B)/archives/*.tar.gz dist/
	@cd dist && sha256sum paligemma-$(VERSION)-linux-*.tar.gz > SHA256SUMS && cat SHA256SUMS

# The archive of what lies in this folder, in build/archives.
package: all
	@rm -rf $(B)/stage && mkdir -p $(B)/archives
	@$(MAKE) install DESTDIR="$$PWD/$(B)/stage" PREFIX= > /dev/null
	@$(GO) run ./scripts/dist -stage $(B)/stage -out $(B)/archives -name $(DIST_NAME) -version '$(VERSION)' \
	  -arch $(ARCH) -target $(RUST_TARGET) -tags '$(strip $(TAG_LIST))' -cxx $(LINK_CXX) \
	  -cuda '$(CUDA_HOME)' -library=$(if $(TOKENIZERS_LIBRARY),true,false)
