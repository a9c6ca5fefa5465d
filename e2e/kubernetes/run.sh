#!/bin/bash
# Starts the cluster of cluster.sh, tests Plexus on it with check.sh, and removes the cluster.
#
#   run.sh [COUNT]    COUNT is the number of rollouts
#
# KUBE_BIN is the directory of Kubernetes and etcd: see cluster.sh.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "run as root: the node needs namespaces, mounts and cgroups of its own" >&2; exit 1; }

for program in kube-apiserver kube-controller-manager kube-scheduler kubelet; do
    [ -x "${KUBE_BIN:-}/$program" ] || { echo "KUBE_BIN=${KUBE_BIN:-} does not contain $program" >&2; exit 1; }
done
for program in etcd kubectl; do
    PATH=$KUBE_BIN:$PATH command -v "$program" >/dev/null || { echo "$program is in neither KUBE_BIN nor PATH" >&2; exit 1; }
done
declare -A packages=([buildah]=buildah [busybox]=busybox-static [containerd]=containerd [runc]=runc [openssl]=openssl
    [iptables]=iptables [curl]=curl)
missing=()
for program in "${!packages[@]}"; do
    command -v "$program" >/dev/null || missing+=("${packages[$program]}")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}" >&2
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >&2
fi

trap '"$HERE/cluster.sh" down' EXIT
"$HERE/cluster.sh" up
echo "$("$KUBE_BIN/kubelet" --version), $(containerd --version | cut -d ' ' -f 1,3), $(runc --version | head -n 1)"
"$HERE/check.sh" "$@"
