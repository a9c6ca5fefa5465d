#!/bin/bash
# Tests hot-plug on the cluster of cluster.sh, on which Plexus and the definitions of pods.yaml are
# installed: adds a network to a running pod and removes it, ROUNDS times (100 by default), and kills
# plexusd in every tenth round. Fails if a change is not made, or if the interfaces, leases, record and
# network-status of the pod disagree after a change. Plexus has hot-plug afterwards.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/lib.sh"
ROUNDS=${ROUNDS:-100}
# Older versions of kubelet wait up to five minutes before they start a container again.
if [ "$(minor)" -ge 35 ]; then
    killed_round=10
else
    killed_round=$((ROUNDS + 1))
    echo "without kills of plexusd, which need Kubernetes 1.35"
fi

now() {
    date +%s%3N
}
# Each of these prints the interfaces of the pod besides eth0: those in its network namespace, in
# network-status, in its record, and in the leases of its container.
interfaces() {
    node ls "/proc/$pid/root/sys/class/net" | sed -E '/^(lo|eth0)$/d' | sort | xargs
}
status() {
    k get pod web --output jsonpath='{.metadata.annotations.k8s\.v1\.cni\.cncf\.io/network-status}' |
        sed -n 's/.*"interface": *"\([^"]*\)".*/\1/p' | sed '/^eth0$/d' | sort | xargs
}
record() {
    k --namespace kube-system exec daemonset/plexus -- /plexusd ledger list |
        awk '$5 == "default/web" { print $6 }' | tr , '\n' | cut -d = -f 1 | sed '/^eth0$/d' | sort | xargs
}
leases() {
    node sh -c 'for lease in $(grep -ls "$0" /var/lib/cni/networks/lan/* /var/lib/cni/networks/storage/*); do
        sed -n 2p "$lease"; echo; done' "$sandbox" | tr -d '\r' | sort | xargs
}
has() { [ "$(interfaces)" = "$1" ]; }
agree() {
    [ "$(status)" = "$1" ] && [ "$(record)" = "$1" ] && [ "$(leases)" = "$1" ] && has "$1"
}
agree_on_nothing() { [ -z "$(record)$(leases)" ]; }
# change NETWORKS INTERFACES: changes the annotation, and waits for the interfaces.
change() {
    k annotate --overwrite pod web "k8s.v1.cni.cncf.io/networks=$1" >/dev/null
    if [ $((round % killed_round)) = 0 ]; then
        sleep "0.$((RANDOM % 3))"
        # The container may not have started again yet.
        if node pkill -9 -x plexusd; then
            kills=$((kills + 1))
        fi
    fi
    wait_until has "$2"
}

render node hotplug >"$WORK/node.yaml"
apply "$WORK/node.yaml"
wait_for_rollout
apply_pod web lan
k wait --for condition=Ready pod/web --timeout 60s >/dev/null || fail "the pod does not start"
pid=$(container_pid web)
sandbox=$(k --namespace kube-system exec daemonset/plexus -- /plexusd ledger list |
    awk '$5 == "default/web" { print $3 }')

kills=0
for round in $(seq "$ROUNDS"); do
    start=$(now)
    change lan,storage@data0 "data0 net1"
    [ $((round % killed_round)) = 0 ] || echo $(($(now) - start)) >>"$WORK/times"
    change lan net1
    if [ $((round % killed_round)) = 0 ]; then
        wait_for_rollout
        wait_until agree net1
    fi
done
round=1
change lan,storage@data0 "data0 net1"
wait_until agree "data0 net1"
k delete pod web >/dev/null
wait_until agree_on_nothing
echo "$ROUNDS changes of a running pod and back, with $kills kills of plexusd; from kubectl annotate to the interface:" \
    "$(sort -n "$WORK/times" | awk '{ ms[NR] = $1 } END { print "median " ms[int((NR + 1) / 2)] " ms, at most " ms[NR] " ms" }')"
