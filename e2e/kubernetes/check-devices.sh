#!/bin/bash
# Tests devices on the cluster of cluster.sh, on which Plexus is installed: starts a device plugin,
# and a pod with two networks of its resource. Fails if the networks do not have the devices that
# kubelet allocated, in the order of the annotation, if a restart of kubelet and plexusd changes
# them, or if anything of the pod is left.
#
# DEVICE_PLUGIN is the program of e2e/kubelet.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/lib.sh"
DEVICE_PLUGIN=${DEVICE_PLUGIN:-$ROOT/target/debug/device-plugin}
LOG=$WORK/log

require 27 "the device plugin refuses the requests of older kubelets, which name the socket as their authority"
at_exit() {
    node sh -c 'kill $(cat /run/plexus-k8s/device-plugin.pid)' 2>/dev/null || true
}
fail() {
    echo "FAILED: $*" >&2
    sed 's/^/device plugin: /' "$LOG" >&2
    exit 1
}
is_registered() { [ "$(grep --count '^registered' "$LOG")" = "$1" ]; }
# The device of each network in the records, in the order of the annotation.
recorded() {
    node sh -c 'cat /var/lib/plexus/ledger/*.jsonl' | grep -o '"deviceId":"[^"]*"' | cut -d '"' -f 4
}
# The devices in the order of their IDs, from the environment of the container.
allocated() {
    k exec devices -- /bin/busybox env | sed -n 's/^PCIDEVICE_EXAMPLE_COM_VF=//p' | tr , '\n' | sort
}

# The IDs are not in order, and a device is on two NUMA nodes.
node sh -c 'echo $$ >/run/plexus-k8s/device-plugin.pid && exec "$@"' sh \
    "$DEVICE_PLUGIN" /var/lib/kubelet example.com/vf \
    0000:03:02.2 0000:03:02.0=0 0000:03:02.3=0,1 0000:03:02.1=1 >"$LOG" 2>&1 &
wait_until is_registered 1
apply "$HERE/devices.yaml"
k wait --for condition=Ready pod/devices --timeout 60s >/dev/null || fail "the pod does not start"

before=$(allocated)
[ "$(echo "$before" | uniq | wc -l)" = 2 ] || fail "kubelet allocated" $before
[ "$(recorded)" = "$before" ] || fail "kubelet allocated" $before", the networks have" $(recorded)

"$HERE/cluster.sh" restart-kubelet
wait_until is_registered 2
k --namespace kube-system rollout restart daemonset/plexus >/dev/null
wait_for_rollout
[ "$(recorded)" = "$before" ] || fail "restarts changed the devices from" $before "to" $(recorded)

k delete --filename "$HERE/devices.yaml" --timeout 60s >/dev/null || fail "the pod does not end"
left=$(recorded || true)$(node sh -c 'ls /var/lib/cni/networks/vf' | grep '^[0-9]' || true)
[ -z "$left" ] || fail "left of the pod: $left"
echo "the networks have the devices that kubelet allocated:" $before
