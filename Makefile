# Commands for building and testing; README.md and docs/contributing.md describe them. The tests, the
# demo and the benchmarks use the binaries of `cargo build --workspace --bins`.

TARGET := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
OUT := $(or $(CARGO_TARGET_DIR),target)
SKIPPED := $(OUT)/skipped-tests.txt
SHIM_LIMIT := 1300000
# Tests run in the directories of their crates, so a relative path would not work.
ifdef CNI_BIN_DIR
override export CNI_BIN_DIR := $(abspath $(CNI_BIN_DIR))
endif

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
IMAGE := localhost/plexus:$(VERSION)
BUILDAH = buildah --root $(OUT)/buildah --runroot $(OUT)/buildah/run --storage-driver vfs

.PHONY: build image chart demo test e2e e2e-sriov soak bench check conformance metrics clean

## Builds the release binaries dist/plexus and dist/plexusd, linked statically. Without --target,
## crt-static would also apply to build scripts. The shim is not position-independent, which saves
## 48 KB of relocations and the time to apply them at each start.
build:
	RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static" \
		cargo build --locked --target $(TARGET) -p plexus --profile shim
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --target $(TARGET) -p plexusd --profile dist
	mkdir -p dist
	cp $(OUT)/$(TARGET)/shim/plexus $(OUT)/$(TARGET)/dist/plexusd dist/
	@size=$$(stat -c %s dist/plexus); echo "dist/plexus $$size bytes, dist/plexusd $$(stat -c %s dist/plexusd) bytes"; \
	test $$size -le $(SHIM_LIMIT) || { echo "dist/plexus is larger than $(SHIM_LIMIT) bytes" >&2; exit 1; }

## Builds the image of the DaemonSet, dist/plexus-image.tar: an OCI archive that containerd, CRI-O,
## podman and registries accept. Needs buildah, but no container engine. The same binaries
## always give the same image.
image: build
	@command -v buildah >/dev/null || { echo "buildah is missing: install it (on Debian the package buildah)" >&2; exit 1; }
	$(BUILDAH) build --quiet --isolation chroot --timestamp 0 --file deploy/Containerfile --tag $(IMAGE) .
	rm -f dist/plexus-image.tar
	$(BUILDAH) push --quiet $(IMAGE) oci-archive:dist/plexus-image.tar:$(IMAGE)
	@echo "dist/plexus-image.tar $$(stat -c %s dist/plexus-image.tar) bytes, $(IMAGE)"

## Copies the files of the kustomization that the Helm chart contains.
chart:
	cd deploy/helm/plexus/files && find . -type f -exec cp ../../../{} {} \;
	cp deploy/crd/network-attachment-definitions.yaml deploy/helm/plexus/crds/

## Attaches and detaches a pod with three interfaces, and shows each step.
demo:
	@e2e/setup.sh
	@cargo build --locked --quiet --workspace --bins
	@e2e/in-node.sh $(OUT)/debug/demo

## Runs all tests, as root or as an ordinary user, and lists the skipped ones at the end.
## PLEXUS_E2E_KUBECONFIG=FILE runs the tests that need a cluster against that cluster; they clean up
## after themselves.
test: TESTS := --workspace
## Runs only the tests in e2e/. TEST=NAME selects one test binary: make e2e TEST=operations.
e2e: TESTS := --package plexus-e2e --package plexus-apiserver $(if $(TEST),--test $(TEST))
test e2e:
	e2e/setup.sh
	cargo build --locked --workspace --bins
	@mkdir -p $(OUT) && : > $(SKIPPED)
	e2e/in-node.sh cargo test --locked $(TESTS) --no-fail-fast; status=$$?; \
	if [ -s $(SKIPPED) ]; then echo "skipped:"; sort -u $(SKIPPED) | sed 's/^/  /'; else echo "no test was skipped"; fi; \
	exit $$status

## Runs the tests of SR-IOV virtual functions in a virtual machine with an emulated card. With the
## plugin sriov in CNI_BIN_DIR, this plugin is tested as well.
e2e-sriov:
	e2e/setup.sh
	e2e/sriov/run.sh

## Starts and stops pods while plexusd is killed at random times: COUNT sequences, the first one with
## the seed SEED. See docs/testing.md.
soak:
	e2e/setup.sh
	cargo build --locked --workspace --bins
	e2e/in-node.sh $(OUT)/debug/kill-sequences --seed $(or $(SEED),1) --count $(or $(COUNT),200)

## Measures the time that Plexus adds to the run time of plugins and, if containerd is installed, the
## time in which containerd starts and stops pods. Uses the release binaries.
bench: build
	e2e/setup.sh
	cargo build --locked --workspace --bins
	PLEXUS_BIN_DIR=dist e2e/in-node.sh $(OUT)/debug/bench
	PLEXUS_BIN_DIR=dist e2e/in-node.sh $(OUT)/debug/bench-pods

## Runs the checks that need no namespaces: format, lints, documentation, licences and sources.
check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	cargo test --locked --package plexus-e2e --test dependencies

## Generates docs/conformance.md from docs/conformance-rows.txt and the rows that tests name.
conformance:
	PLEXUS_BLESS=1 cargo test --locked --package plexus-e2e --test conformance

## Generates the table in docs/metrics.md from the code.
metrics:
	PLEXUS_BLESS=1 cargo test --locked --package plexusd --lib telemetry::metrics

clean:
	cargo clean
	rm -rf dist
