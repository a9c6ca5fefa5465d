#!/bin/bash
# Tests the life cycle of an installation on the cluster of cluster.sh: installs Plexus, runs the
# first example, tests the devices of pods (check-devices.sh) and hot-plug (check-hotplug.sh), rolls
# Plexus out repeatedly while pods with two secondary networks are deleted and created, deletes it,
# and uninstalls it. Fails if the node was not Ready the whole time, or if anything is left on the
# node. With helm on the PATH, the same follows with the chart (check-chart.sh).
#
#   check.sh [COUNT]    COUNT is the number of rollouts
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/lib.sh"
COUNT=${1:-20}
MANIFESTS=$(mktemp -d)
BACKGROUND=()
trap 'kill "${BACKGROUND[@]}" 2>/dev/null || true; rm -rf "$MANIFESTS"' EXIT

for name in crd node uninstall; do
    render "$name" >"$MANIFESTS/$name.yaml"
done

apply "$MANIFESTS/crd.yaml"
k wait --for condition=Established crd/network-attachment-definitions.k8s.cni.cncf.io >/dev/null
apply "$MANIFESTS/node.yaml"
wait_for_rollout
echo "installed"
apply "$HERE/pods.yaml"
k rollout status deployment/pods --timeout 120s >/dev/null
echo "the pods are running"
first_example
echo "the first example works"
"$HERE/check-devices.sh"
"$HERE/check-hotplug.sh"

# Prints the Ready condition of the node, with the time of its last transition.
ready_condition() {
    k get node node1 --output jsonpath='{range .status.conditions[?(@.type=="Ready")]}{.status} {.lastTransitionTime}{end}'
}
before=$(ready_condition)
(while true; do
    k get pods --selector app=pods --output name | shuf --head-count 4 | xargs --no-run-if-empty "$HERE/cluster.sh" \
        kubectl delete --ignore-not-found --wait=false >/dev/null || true
    sleep 1.5
done) &
BACKGROUND+=($!)
for round in $(seq "$COUNT"); do
    k --namespace kube-system rollout restart daemonset/plexus >/dev/null
    wait_for_rollout || fail "rollout $round does not finish"
done
kill "${BACKGROUND[@]}"
BACKGROUND=()
after=$(ready_condition)
[ "$after" = "$before" ] || fail "the node was not Ready the whole time: before: $before, after: $after"
k rollout status deployment/pods --timeout 180s >/dev/null || fail "the pods are not running"
echo "$COUNT rollouts; sandboxes that failed to start: $(k get events --all-namespaces --output name \
    --field-selector reason=FailedCreatePodSandBox | wc -l)"

k delete --filename "$MANIFESTS/node.yaml" >/dev/null
apply "$MANIFESTS/uninstall.yaml"
k scale deployment/pods --replicas 0 >/dev/null
wait_for_rollout 300s || fail "the uninstall does not finish"
# The cluster may have definitions of others.
k get --filename "$HERE/pods.yaml" --output name >/dev/null || fail "the uninstall removed objects of pods.yaml"
k scale deployment/pods --replicas 3 >/dev/null
k rollout status deployment/pods --timeout 60s >/dev/null || fail "pods do not start without Plexus"
k delete --filename "$HERE/pods.yaml" --filename "$MANIFESTS/uninstall.yaml" >/dev/null
nothing_is_left
echo "uninstalled: nothing is left on the node"
if ! command -v helm >/dev/null; then
    echo "skipped the chart: helm is missing"
elif [ "$(minor)" -lt 30 ]; then
    echo "skipped the chart: it needs Kubernetes 1.30"
else
    "$HERE/check-chart.sh"
fi
