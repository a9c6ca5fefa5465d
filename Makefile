# Commands for building and testing; README.md and docs/contributing.md describe them. The tests, the
# demo and the benchmarks use the binaries of `cargo build --workspace --bins`.

# The machine, and the architecture to build for: amd64 or arm64, also `make build ARCH=arm64` on amd64.
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
HOST_ARCH := $(patsubst x86_64-%,amd64,$(patsubst aarch64-%,arm64,$(HOST)))
ARCH := $(HOST_ARCH)
# Empty, or the architecture if it is not the machine's. Its binaries are in a directory of their own.
CROSS := $(filter-out $(HOST_ARCH),$(ARCH))
CPU := $(patsubst amd64,x86_64,$(patsubst arm64,aarch64,$(ARCH)))
TARGET := $(if $(CROSS),$(CPU)-unknown-linux-gnu,$(HOST))
CARGO_BUILD := cargo build --locked --target $(TARGET) $(if $(CROSS),--config target.$(TARGET).linker=\"$(CPU)-linux-gnu-gcc\")
# The paths of crates are in the messages of panics. Without the directory of this machine, they are the
# same on all machines.
REMAP := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src=crates
BIN := dist$(CROSS:%=/%)
# The architectures of an image.
ARCHS := $(HOST_ARCH)
OUT := $(or $(CARGO_TARGET_DIR),target)
SKIPPED := $(OUT)/skipped-tests.txt
SHIM_LIMIT := 1300000
# Tests run in the directories of their crates, so a relative path would not work.
ifdef CNI_BIN_DIR
override export CNI_BIN_DIR := $(abspath $(CNI_BIN_DIR))
endif
ifdef CONTAINERD
override export PLEXUS_E2E_CONTAINERD := $(abspath $(CONTAINERD))
endif

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
IMAGE := localhost/plexus:$(VERSION)
PLUGINS_IMAGE := localhost/plexus-cni-plugins:$(VERSION)
RELEASE := dist/release
# The commit that `--version` prints. Empty in an unpacked archive of the sources: COMMIT=... sets it there.
COMMIT := $(shell git describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null)
# The same files always give the same archive.
TAR := tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX
BUILDAH = buildah --root $(OUT)/buildah --runroot $(OUT)/buildah/run --storage-driver vfs

.PHONY: build image image-cni-plugins release release-files chart demo test e2e e2e-containerd e2e-kernel e2e-sriov \
	e2e-kubernetes cargo-test soak bench check conformance metrics docs test-arm64 toolchain clean

## Builds the release binaries dist/plexus and dist/plexusd, linked statically. Without --target,
## crt-static would also apply to build scripts. The shim is not position-independent, which saves
## 48 KB of relocations and the time to apply them at each start.
build: export PLEXUS_COMMIT = $(COMMIT)
build: $(CROSS:%=toolchain)
	RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static $(REMAP)" $(CARGO_BUILD) -p plexus --profile shim
	RUSTFLAGS="-C target-feature=+crt-static $(REMAP)" $(CARGO_BUILD) -p plexusd --profile dist
	mkdir -p $(BIN)
	cp $(OUT)/$(TARGET)/shim/plexus $(OUT)/$(TARGET)/dist/plexusd $(BIN)/
	@size=$$(stat -c %s $(BIN)/plexus); \
	echo "$(BIN)/plexus $$size bytes, $(BIN)/plexusd $$(stat -c %s $(BIN)/plexusd) bytes"; \
	test $$size -le $(SHIM_LIMIT) || { echo "$(BIN)/plexus is larger than $(SHIM_LIMIT) bytes" >&2; exit 1; }

build-%:
	$(MAKE) build ARCH=$*

## Installs what `build` needs for another architecture than that of the machine.
toolchain:
	e2e/arm64/setup.sh $(CPU)

## Builds the image of the DaemonSet, dist/plexus-image.tar: an OCI archive that containerd, CRI-O,
## podman and registries accept. Needs buildah, but no container engine. The same binaries
## always give the same image. ARCHS="amd64 arm64" builds it for both architectures.
image: $(ARCHS:%=build-%)
	@command -v buildah >/dev/null || { echo "buildah is missing: install it (on Debian the package buildah)" >&2; exit 1; }
	$(BUILDAH) manifest rm $(IMAGE) >/dev/null 2>&1 || $(BUILDAH) rmi $(IMAGE) >/dev/null 2>&1 || true
	$(BUILDAH) manifest create $(IMAGE) >/dev/null
	set -e; for arch in $(ARCHS); do \
		$(BUILDAH) build --quiet --isolation chroot --timestamp 0 --platform linux/$$arch --build-arg VERSION=$(VERSION) \
			--build-arg BIN=dist$$(test $$arch = $(HOST_ARCH) || echo /$$arch) --file deploy/Containerfile --manifest $(IMAGE) .; \
	done
	rm -rf dist/plexus-image
	$(BUILDAH) manifest push --quiet --all $(IMAGE) oci:dist/plexus-image:$(IMAGE)
	$(TAR) --directory dist/plexus-image --file dist/plexus-image.tar blobs index.json oci-layout
	@echo "dist/plexus-image.tar $$(stat -c %s dist/plexus-image.tar) bytes, $(IMAGE) for $(ARCHS)"

## Builds the image of deploy/components/cni-plugins, dist/cni-plugins-image.tar, from the plugins in
## CNI_BIN_DIR or from Debian's package containernetworking-plugins, and from busybox-static. Debian's
## plugins need glibc on the node: for Talos and Alpine, use the static ones of the CNI project.
image-cni-plugins: PLUGINS = $(or $(CNI_BIN_DIR),/usr/lib/cni)
image-cni-plugins:
	@command -v busybox >/dev/null || { echo "busybox is missing: install it (on Debian the package busybox-static)" >&2; exit 1; }
	@test -x $(PLUGINS)/bridge || { echo "$(PLUGINS) has no plugins: install them (on Debian the package containernetworking-plugins), or set CNI_BIN_DIR" >&2; exit 1; }
	rm -rf dist/cni-plugins
	mkdir -p dist/cni-plugins
	cp -rL $(PLUGINS) dist/cni-plugins/plugins
	cp "$$(command -v busybox)" deploy/cni-plugins/install.sh dist/cni-plugins/
	$(BUILDAH) build --quiet --isolation chroot --timestamp 0 --file deploy/cni-plugins/Containerfile \
		--tag $(PLUGINS_IMAGE) dist/cni-plugins
	rm -rf dist/cni-plugins-image
	$(BUILDAH) push --quiet $(PLUGINS_IMAGE) oci:dist/cni-plugins-image:$(PLUGINS_IMAGE)
	$(TAR) --directory dist/cni-plugins-image --file dist/cni-plugins-image.tar blobs index.json oci-layout
	@echo "dist/cni-plugins-image.tar $$(stat -c %s dist/cni-plugins-image.tar) bytes, $(PLUGINS_IMAGE)"

## Leaves a release in dist/release: the programs and the image for both architectures, the software bill
## of materials, and what `release-files` writes. The same sources and tools always give the same files.
## Without a cross compiler: make release ARCHS=amd64.
release: ARCHS := amd64 arm64
release: CROSS_CPUS = $(subst amd64,x86_64,$(subst arm64,aarch64,$(filter-out $(HOST_ARCH),$(ARCHS))))
release: COMMIT = $(shell git rev-parse HEAD)
release: release-files
	$(MAKE) image ARCHS="$(ARCHS)"
	set -e; for arch in $(ARCHS); do for program in plexus plexusd; do \
		cp dist$$(test $$arch = $(HOST_ARCH) || echo /$$arch)/$$program $(RELEASE)/$$program-$(VERSION)-linux-$$arch; \
	done; done
	cp dist/plexus-image.tar $(RELEASE)/plexus-image-$(VERSION).tar
	deploy/sbom.sh $(VERSION) $(COMMIT) $$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ) \
		$(patsubst amd64,x86_64-unknown-linux-gnu,$(patsubst arm64,aarch64-unknown-linux-gnu,$(ARCHS))) \
		>$(RELEASE)/plexus-$(VERSION).spdx
	{ echo "commit $(COMMIT)$$(git diff --quiet HEAD || echo ' with changes')"; rustc -vV; cc --version | head -n 1; \
		$(patsubst %,%-linux-gnu-gcc --version | head -n 1;,$(CROSS_CPUS)) buildah --version; } >$(RELEASE)/BUILD.txt
	cd $(RELEASE) && sha256sum $$(ls | grep -v SHA256SUMS) >SHA256SUMS

## Writes the files of a release that need no build: rendered manifests, the chart, the first example, the
## kustomizations with the documentation, and the changes since the last release.
release-files:
	rm -rf $(RELEASE)
	mkdir -p $(RELEASE)
	kubectl kustomize deploy >$(RELEASE)/install.yaml
	kubectl kustomize deploy/uninstall >$(RELEASE)/uninstall.yaml
	cp deploy/examples/first.yaml deploy/kubectl-plexus $(RELEASE)/
	$(TAR) --directory deploy/helm plexus | gzip --no-name >$(RELEASE)/plexus-$(VERSION).tgz
	$(TAR) --transform 's,^,plexus-manifests-$(VERSION)/,' deploy docs README.md CHANGELOG.md CONTRIBUTING.md LICENSE | \
		gzip --no-name >$(RELEASE)/plexus-manifests-$(VERSION).tgz
	awk '/^## / { shown = $$2 == "$(VERSION)" || $$2 == "Unreleased" } shown' CHANGELOG.md >$(RELEASE)/CHANGES.md
	cd $(RELEASE) && sha256sum $$(ls | grep -v SHA256SUMS) >SHA256SUMS

## Copies the files of the kustomization that the Helm chart contains.
chart:
	cd deploy/helm/plexus/files && find . -type f -exec cp ../../../{} {} \;
	cp deploy/crd/network-attachment-definitions.yaml deploy/helm/plexus/crds/

## Attaches and detaches a pod with three interfaces, and shows each step.
demo:
	@e2e/setup.sh
	@cargo build --locked --quiet --workspace --bins
	@e2e/in-node.sh $(OUT)/debug/demo

## Runs all tests that need no virtual machine, as root or as an ordinary user, and lists the skipped
## ones at the end. PLEXUS_E2E_KUBECONFIG=FILE runs the tests that need a cluster against that cluster;
## they clean up after themselves.
test: TESTS = --workspace
test: cargo-test

## Runs all tiers of end-to-end tests that this machine can run, and prints which ones ran.
## TEST=NAME runs only one test binary: make e2e TEST=operations.
e2e: TESTS = --package plexus-e2e --package plexus-apiserver --test $(TEST)
e2e: $(if $(TEST),cargo-test)
	$(if $(TEST),,e2e/tiers.sh)

cargo-test:
	e2e/setup.sh
	cargo build --locked --workspace --bins
	@mkdir -p $(OUT) && : > $(SKIPPED)
	e2e/in-node.sh cargo test --locked $(TESTS) --no-fail-fast; status=$$?; \
	if [ -s $(SKIPPED) ]; then echo "skipped:"; sort -u $(SKIPPED) | sed 's/^/  /'; else echo "no test was skipped"; fi; \
	exit $$status

## Runs the tests with a real containerd: Debian's, or that in the directory CONTAINERD.
e2e-containerd:
	e2e/tiers.sh containerd

## Runs the tests that need bond, vlan, ipvlan, vrf and dummy links in user-mode Linux.
e2e-kernel:
	e2e/tiers.sh kernel

## Builds the programs for arm64, and runs them on amd64 with QEMU: the unit tests, and end-to-end tests
## in which the runtime executes the shim and the shim calls the daemon. EMULATED selects those tests.
test-arm64: EMULATED := add:: del::
test-arm64:
	$(MAKE) build ARCH=arm64
	cargo build --locked --workspace --bins
	e2e/arm64/run.sh e2e/arm64/test.sh dist/arm64 $(EMULATED)

## Runs the tests of SR-IOV virtual functions in a virtual machine with an emulated card. With the
## plugin sriov in CNI_BIN_DIR, this plugin is tested as well.
e2e-sriov:
	e2e/tiers.sh sriov

## Tests the image on a real Kubernetes with one node, as root, and removes the cluster: KUBE_BIN is the
## directory of its programs, and without it those of Debian's sources are built once. COUNT is the number
## of rollouts, CONTAINERD the directory of another containerd, FROM_RELEASE that of a release. See
## docs/testing.md.
e2e-kubernetes:
	KUBE_BIN=$${KUBE_BIN:-$$(e2e/kubernetes/debian.sh)} && export KUBE_BIN && e2e/tiers.sh kubernetes

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

## Builds the documentation as a site with search in target/docs/book, and checks its links. The pages
## are also readable without it: docs/SUMMARY.md is their index.
docs: MDBOOK := $(OUT)/tools/bin/mdbook
docs:
	@test -x $(MDBOOK) || cargo install --locked --quiet mdbook@0.5.4 --no-default-features --features search --root $(OUT)/tools
	docs/site.sh "$(abspath $(MDBOOK))" "$(abspath $(OUT))/docs"

clean:
	cargo clean
	rm -rf dist
