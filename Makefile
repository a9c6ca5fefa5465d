# The commands of the README. All but `build` and `check` work on what `cargo build --workspace --bins` leaves.

TARGET := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
OUT := $(or $(CARGO_TARGET_DIR),target)
SKIPPED := $(OUT)/skipped-tests.txt
SHIM_LIMIT := 1300000
# Tests run in the directories of their crates.
ifdef CNI_BIN_DIR
override export CNI_BIN_DIR := $(abspath $(CNI_BIN_DIR))
endif

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
IMAGE := localhost/plexus:$(VERSION)
BUILDAH = buildah --root $(OUT)/buildah --runroot $(OUT)/buildah/run --storage-driver vfs

.PHONY: build image demo test e2e soak bench check conformance metrics clean

## What ships: dist/plexus and dist/plexusd, static. --target keeps crt-static away from build scripts. The shim is not
## position-independent: it saves the relocations, 48 KB and their time at each start.
build:
	RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static" \
		cargo build --locked --target $(TARGET) -p plexus --profile shim
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --target $(TARGET) -p plexusd --profile dist
	mkdir -p dist
	cp $(OUT)/$(TARGET)/shim/plexus $(OUT)/$(TARGET)/dist/plexusd dist/
	@size=$$(stat -c %s dist/plexus); echo "dist/plexus $$size bytes, dist/plexusd $$(stat -c %s dist/plexusd) bytes"; \
	test $$size -le $(SHIM_LIMIT) || { echo "dist/plexus has more than $(SHIM_LIMIT) bytes" >&2; exit 1; }

## The image of the DaemonSet, dist/plexus-image.tar: an OCI archive that containerd, CRI-O, podman and registries take.
## It needs buildah and no engine. The same programs make the same image.
image: build
	@command -v buildah >/dev/null || { echo "buildah is missing (Debian's package buildah)" >&2; exit 1; }
	$(BUILDAH) build --quiet --isolation chroot --timestamp 0 --file deploy/Containerfile --tag $(IMAGE) .
	rm -f dist/plexus-image.tar
	$(BUILDAH) push --quiet $(IMAGE) oci-archive:dist/plexus-image.tar:$(IMAGE)
	@echo "dist/plexus-image.tar $$(stat -c %s dist/plexus-image.tar) bytes, $(IMAGE)"

## A pod with three interfaces, made and removed before your eyes.
demo:
	@e2e/setup.sh
	@cargo build --locked --quiet --workspace --bins
	@e2e/in-node.sh $(OUT)/debug/demo

## All tests, as root or as an ordinary user. What could not run here is listed at the end.
## PLEXUS_E2E_KUBECONFIG=FILE runs those that need a cluster against that one; they clean up after themselves.
test: TESTS := --workspace
## The tests below e2e/ alone. TEST=NAME runs one test binary: make e2e TEST=verbs.
e2e: TESTS := --package plexus-e2e --package plexus-apiserver $(if $(TEST),--test $(TEST))
test e2e:
	e2e/setup.sh
	cargo build --locked --workspace --bins
	@mkdir -p $(OUT) && : > $(SKIPPED)
	e2e/in-node.sh cargo test --locked $(TESTS) --no-fail-fast; status=$$?; \
	if [ -s $(SKIPPED) ]; then echo "skipped:"; sort -u $(SKIPPED) | sed 's/^/  /'; else echo "no test was skipped"; fi; \
	exit $$status

## Pods come and go while plexusd is killed at any instant: COUNT sequences from SEED on. docs/testing.md has more.
soak:
	e2e/setup.sh
	cargo build --locked --workspace --bins
	e2e/in-node.sh $(OUT)/debug/kill-sequences --seed $(or $(SEED),1) --count $(or $(COUNT),200)

## What Plexus adds to the plugins of a pod, in milliseconds, and pods under containerd where there is one; with the
## programs that ship.
bench: build
	e2e/setup.sh
	cargo build --locked --workspace --bins
	PLEXUS_BIN_DIR=dist e2e/in-node.sh $(OUT)/debug/bench
	PLEXUS_BIN_DIR=dist e2e/in-node.sh $(OUT)/debug/bench-pods

## What needs no namespace: format, lints, documentation, licences and sources.
check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	cargo test --locked --package plexus-e2e --test dependencies

## Writes docs/conformance.md from the rows that tests name.
conformance:
	PLEXUS_BLESS=1 cargo test --locked --package plexus-e2e --test conformance

## Writes the table of docs/metrics.md from the code.
metrics:
	PLEXUS_BLESS=1 cargo test --locked --package plexusd --lib telemetry::metrics

clean:
	cargo clean
	rm -rf dist
