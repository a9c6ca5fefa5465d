#!/bin/bash
# Installs Plexus on the cluster of cluster.sh, starts pods with two secondary networks, and runs the
# first example.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/lib.sh"

for name in crd node; do
    render "$name" >"$WORK/$name.yaml"
done
apply "$WORK/crd.yaml"
k wait --for condition=Established crd/network-attachment-definitions.k8s.cni.cncf.io >/dev/null
apply "$WORK/node.yaml"
wait_for_rollout
start_pods
first_example
