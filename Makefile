# Stele: build, try, test. `make` alone lists the targets.
#
# Caches (packages, compiled code) live in $XDG_CACHE_HOME/stele, results in _out/. Nothing here needs root but `setup`,
# which installs packages and does nothing when all is there.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/stele
OUT   := _out

# The kernel inside the image: cloud (small, virtual machines) or generic (any hardware).
KERNEL ?= cloud

ifneq ($(filter-out cloud generic,$(KERNEL)),)
$(error KERNEL is '$(KERNEL)'; it must be 'cloud' or 'generic')
endif

# One folder of compiled code for each checkout: cargo tells the crates of two checkouts apart by their place in the
# workspace alone, and would take one's for the other's.
TARGETS := $(CACHE)/target
export CARGO_TARGET_DIR ?= $(TARGETS)/$(firstword $(shell printf %s '$(CURDIR)' | sha256sum | cut -c1-16))
CARGO_HOME_DIR := $(or $(CARGO_HOME),$(HOME)/.cargo)
export PATH := $(CARGO_HOME_DIR)/bin:$(PATH)

# safe.directory: under sudo the checkout belongs to somebody else.
git = git -c safe.directory='$(CURDIR)'
export STELE_COMMIT ?= $(shell $(git) describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null)
export SOURCE_DATE_EPOCH ?= $(shell $(git) log -1 --format=%ct 2>/dev/null || echo 0)

PRODUCT  := $(OUT)/$(if $(filter generic,$(KERNEL)),stele-metal-amd64,stele-amd64)
TRIPLE   := x86_64-unknown-linux-gnu
BINARIES := $(CARGO_TARGET_DIR)/$(TRIPLE)/image
IMAGER   := $(CARGO_TARGET_DIR)/release/imager

# What runs on a node is static, and knows nothing of the folders it was built in.
NODE_FLAGS := -C target-feature=+crt-static --remap-path-prefix=$(CARGO_HOME_DIR)=/cargo --remap-path-prefix=$(CARGO_TARGET_DIR)=/target

# The loader runs without an operating system: interrupts take the stack below its pointer, and nothing unwinds.
LOADER_FLAGS := $(NODE_FLAGS) -C relocation-model=pie -C no-redzone=yes -C force-unwind-tables=no

say = @printf '\n==> %s\n' "$(1)"

.DEFAULT_GOAL := help
.PHONY: help setup build image demo demo-stop test test-fast test-long bench fuzz fmt lint clean nodes fixture test-image bench-images

help: ## list the targets
	@printf 'Stele. Start with: make demo\n\n'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'
	@printf '\n  KERNEL=generic     for image and demo: the kernel for any hardware instead of the small one\n'

setup: ## install what building and testing need (packages, Rust); asks for sudo when not root
	@hack/setup

nodes: setup
	$(call say,compiling the node's programs (static))
	@RUSTFLAGS="$(NODE_FLAGS)" cargo build --locked --profile image --target $(TRIPLE) --no-default-features -p init -p machined -p installer
	@RUSTFLAGS="$(LOADER_FLAGS)" cargo build --locked --profile loader --target $(TRIPLE) -p loader --features program
	@cp $(CARGO_TARGET_DIR)/$(TRIPLE)/loader/loader $(BINARIES)/loader

build: nodes ## compile everything: the node's programs, apictl, imager
	$(call say,compiling apictl and imager)
	@cargo build --locked --release -p apictl -p installer
	@mkdir -p $(OUT) && cp $(CARGO_TARGET_DIR)/release/apictl $(OUT)/apictl

image: build ## build the image into _out/ (KERNEL=generic: the kernel for any hardware)
	$(call say,building the image ($(KERNEL) kernel))
	@$(IMAGER) build --kernel $(KERNEL) --binaries $(BINARIES) --out $(OUT)
	@$(IMAGER) oci --uki $(PRODUCT).efi --recovery $(PRODUCT).recovery.efi --loader $(PRODUCT).loader.efi \
		--installer $(BINARIES)/installer --output $(PRODUCT).oci
	@$(IMAGER) sign $(PRODUCT).oci

demo: image ## build the image, boot it in a virtual machine, ask it over the API; leaves it running
	$(call say,compiling the demonstration)
	@cargo build --locked --release -p tests --bin demo
	@$(CARGO_TARGET_DIR)/release/demo start --out $(OUT) --kernel $(KERNEL)

demo-stop: ## stop the machine that `make demo` left running
	@if [ -x '$(CARGO_TARGET_DIR)/release/demo' ]; then '$(CARGO_TARGET_DIR)/release/demo' stop --out $(OUT); \
	else echo 'no machine of the demo is running'; fi

fixture: setup
	@RUSTFLAGS="$(NODE_FLAGS)" cargo build --locked --profile image --target $(TRIPLE) -p fixture

# The product's image plus services that misbehave on purpose, with both kernels; for the stories only.
test-image: image fixture
	$(call say,building the image for tests)
	@tests/image/build "$(IMAGER)" "$(BINARIES)" "$(OUT)/test" cloud generic

# What the figures are taken of: the product with both kernels, and a bare program with the same ones.
bench-images: image fixture
	$(call say,building the images to measure)
	@mkdir -p $(OUT)/test
	@$(IMAGER) build --kernel cloud --binaries $(BINARIES) --out $(OUT)
	@$(IMAGER) build --kernel generic --binaries $(BINARIES) --out $(OUT)
	@$(IMAGER) build --kernel cloud --binaries $(BINARIES) --name stele-next --out $(OUT)/test --cmdline stele.next
	@rm -f $(OUT)/test/stele-next.raw
	@$(IMAGER) baseline --kernel cloud --program $(BINARIES)/baseline --stem $(OUT)/test/baseline
	@$(IMAGER) baseline --kernel generic --program $(BINARIES)/baseline --stem $(OUT)/test/baseline-metal
	@tests/image/parts $(IMAGER) $(OUT)/stele-amd64 $(OUT)/stele-metal-amd64 $(OUT)/test/baseline $(OUT)/test/baseline-metal

# The linker's long last step of the node's programs leaves a processor free: lints and unit tests run beside it.
test: setup ## everything but the very long: lints, unit tests, stories in virtual machines
	@$(MAKE) --no-print-directory --jobs=2 --output-sync nodes lint test-fast
	@$(MAKE) --no-print-directory test-image
	$(call say,stories in virtual machines)
	@STELE_IMAGER=$(IMAGER) cargo test --locked -p tests --test image --test stories

test-fast: setup ## tests that need no virtual machine
	$(call say,unit tests)
	@cargo test --locked --workspace --exclude tests
	@cargo test --locked -p tests --lib --test workspace

test-long: test-image ## what is too long for every run
	@STELE_IMAGER=$(IMAGER) cargo test --locked -p tests --test stories -- --ignored

bench: bench-images ## measure boot, memory, size and an upgrade beside a bare baseline; writes docs/figures.md
	@STELE_IMAGER=$(IMAGER) cargo run --locked --release -p tests --bin bench -- --out $(OUT)

# For each target, and which (all).
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=

fuzz: ## fuzz every parser of outside bytes (FUZZ_SECONDS=60 for each)
	@hack/setup g++
	@hack/fuzz run $(FUZZ_SECONDS) $(FUZZ_TARGETS)

fmt: setup ## format the code
	@cargo fmt --all

lint: setup ## check format and lints
	$(call say,format and lints)
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets -- -D warnings
	@cargo clippy --locked --profile loader -p loader --features program --bin loader -- -D warnings

clean: demo-stop ## remove results and compiled code (downloaded packages stay)
	rm -rf -- '$(OUT)' '$(filter $(TARGETS)/%,$(CARGO_TARGET_DIR))'
