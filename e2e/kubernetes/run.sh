#!/bin/bash
# Starts the cluster of cluster.sh, tests Plexus on it with check.sh, and removes the cluster, also if
# a check fails or the script is interrupted. Ends with status 77 if the cluster cannot run on this
# machine; the last line is the reason.
#
#   run.sh [CHECK...]
#
# KUBE_BIN is the directory of Kubernetes and etcd (see cluster.sh), CONTAINERD one with another
# containerd than that on the PATH, and IMAGE the archive of an image, if not that of `make image`.
# FROM_RELEASE is a directory of `make release`: the image, the manifests and the chart are then its own.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
. "$ROOT/e2e/packages.sh"

[ -n "${KUBE_BIN:-}" ] || skip "KUBE_BIN is not set: the directory of the programs of Kubernetes"
[ "$(id -u)" = 0 ] || skip "run as root: the node needs namespaces, mounts and cgroups of its own"
KUBE_BIN=$(realpath "$KUBE_BIN")
export PATH=$KUBE_BIN:${CONTAINERD:+$(realpath "$CONTAINERD"):}$PATH:/usr/sbin:/sbin
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet; do
    [ -x "$KUBE_BIN/$program" ] || skip "KUBE_BIN=$KUBE_BIN does not contain $program"
done
for program in etcd kubectl; do
    command -v "$program" >/dev/null || skip "$program is in neither KUBE_BIN nor PATH"
done
declare -A packages=([buildah]=buildah [busybox]=busybox-static [containerd]=containerd [runc]=runc [openssl]=openssl
    [iptables]=iptables [curl]=curl)
missing=()
for program in "${!packages[@]}"; do
    command -v "$program" >/dev/null || missing+=("${packages[$program]}")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}" >&2
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >&2 || skip "cannot install ${missing[*]}"
fi

if [ -n "${FROM_RELEASE:-}" ]; then
    (cd "$FROM_RELEASE" && sha256sum --quiet --check SHA256SUMS)
    IMAGE=$(realpath "$FROM_RELEASE"/plexus-image-*.tar)
    export IMAGE
elif [ -z "${IMAGE:-}" ]; then
    make --directory "$ROOT" image
fi
cargo build --locked --manifest-path "$ROOT/Cargo.toml" --package plexus-kubelet
unpacked=
clean_up() {
    trap '' INT TERM HUP PIPE
    "$HERE/cluster.sh" down
    rm -rf "$unpacked"
}
trap clean_up EXIT
if [ -n "${FROM_RELEASE:-}" ]; then
    unpacked=$(mktemp -d "$ROOT/target/release.XXXXXX")
    export DEPLOY=$unpacked/deploy
    tar --extract --directory "$unpacked" --strip-components 1 --file "$FROM_RELEASE"/plexus-manifests-*.tgz
    rm -r "$DEPLOY/helm/plexus"
    tar --extract --directory "$DEPLOY/helm" --file "$FROM_RELEASE"/plexus-[0-9]*.tgz
fi
"$HERE/cluster.sh" up
echo "$(kubelet --version), $(containerd --version | cut -d ' ' -f 1,3), $(runc --version | head -n 1)"
"$HERE/check.sh" "$@"
