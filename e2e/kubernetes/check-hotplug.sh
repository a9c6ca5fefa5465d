#!/bin/bash
# Tests hot-plug on the cluster of cluster.sh, on which Plexus and the definitions of pods.yaml are
# installed: adds a network to a running pod and removes it, repeatedly, and kills plexusd in every
# tenth round. Fails if a change is not made, or if the interfaces, leases, record and network-status
# of the pod disagree after a change. Plexus has hot-plug afterwards.
#
#   check-hotplug.sh [COUNT]    COUNT is the number of rounds
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/lib.sh"
COUNT=${1:-100}
DIR=$(mktemp -d)
trap 'rm -r "$DIR"' EXIT

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
    if [ $((round % 10)) = 0 ]; then
        sleep "0.$((RANDOM % 3))"
        # The container may not have started again yet.
        if node pkill -9 -x plexusd; then
            kills=$((kills + 1))
        fi
    fi
    wait_until has "$2"
}

render node hotplug >"$DIR/node.yaml"
apply "$DIR/node.yaml"
wait_for_rollout
cat >"$DIR/web.yaml" <<'EOF'
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: default
  annotations:
    k8s.v1.cni.cncf.io/networks: lan
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: sleep
      image: localhost/sleep:1
      imagePullPolicy: Never
EOF
apply "$DIR/web.yaml"
k wait --for condition=Ready pod/web --timeout 60s >/dev/null || fail "the pod does not start"
container=$(k get pod web --output jsonpath='{.status.containerStatuses[0].containerID}')
pid=$(node ctr --address /run/plexus-k8s/containerd.sock --namespace k8s.io tasks ls | awk -v id="${container##*/}" \
    '$1 == id { print $2 }')
sandbox=$(k --namespace kube-system exec daemonset/plexus -- /plexusd ledger list |
    awk '$5 == "default/web" { print $3 }')

kills=0
for round in $(seq "$COUNT"); do
    start=$(now)
    change lan,storage@data0 "data0 net1"
    [ $((round % 10)) = 0 ] || echo $(($(now) - start)) >>"$DIR/times"
    change lan net1
    if [ $((round % 10)) = 0 ]; then
        wait_for_rollout
        wait_until agree net1
    fi
done
round=1
change lan,storage@data0 "data0 net1"
wait_until agree "data0 net1"
k delete pod web >/dev/null
wait_until agree_on_nothing
echo "$COUNT changes of a running pod and back, with $kills kills of plexusd; from kubectl annotate to the interface:" \
    "$(sort -n "$DIR/times" | awk '{ ms[NR] = $1 } END { print "median " ms[int((NR + 1) / 2)] " ms, at most " ms[NR] " ms" }')"
