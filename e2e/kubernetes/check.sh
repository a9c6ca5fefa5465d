#!/bin/bash
# Tests the life cycle of an installation on the cluster of cluster.sh: installs Plexus, runs the
# first example, tests the devices of pods (check-devices.sh), rolls Plexus out repeatedly while pods
# with two secondary networks are deleted and created, deletes it, and uninstalls it. Fails if the
# node was not Ready the whole time, or if anything is left on the node.
#
#   check.sh [COUNT]    COUNT is the number of rollouts
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
COUNT=${1:-20}
KUSTOMIZATIONS=$(mktemp -d "$ROOT/target/kubernetes.XXXXXX")
BACKGROUND=()
trap 'kill "${BACKGROUND[@]}" 2>/dev/null || true; rm -rf "$KUSTOMIZATIONS"' EXIT

k() {
    "$HERE/cluster.sh" kubectl "$@"
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# Older versions lack ValidatingAdmissionPolicy, and maxSurge of DaemonSets.
minor=$(k get node node1 --output jsonpath='{.status.nodeInfo.kubeletVersion}' | sed 's/^v1\.\([0-9]*\).*/\1/')
components="" patches=""
if [ "$minor" -lt 30 ]; then
    components='components: [../../../deploy/components/without-admission-policy]'
fi
if [ "$minor" -lt 22 ]; then
    patches='patches: [{patch: "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: plexus, namespace: kube-system},
      spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 1, maxSurge: null}}}}"}]'
fi
# render NAME: prints the manifests of deploy/NAME for this cluster.
render() {
    mkdir -p "$KUSTOMIZATIONS/$1"
    printf 'resources: [../../../deploy/%s]\n%s\n' "$1" "$components" \
        >"$KUSTOMIZATIONS/$1/kustomization.yaml"
    [ "$1" = crd ] || echo "$patches" >>"$KUSTOMIZATIONS/$1/kustomization.yaml"
    k kustomize "$KUSTOMIZATIONS/$1"
}
for name in crd node uninstall; do
    render "$name" >"$KUSTOMIZATIONS/$name.yaml"
done

apply() {
    k apply --validate=false --filename "$1" >/dev/null
}
wait_for_rollout() {
    k --namespace kube-system rollout status daemonset/plexus --timeout "${1:-120s}" >/dev/null
}

apply "$KUSTOMIZATIONS/crd.yaml"
k wait --for condition=Established crd/network-attachment-definitions.k8s.cni.cncf.io >/dev/null
apply "$KUSTOMIZATIONS/node.yaml"
wait_for_rollout
echo "installed"
apply "$HERE/pods.yaml"
k rollout status deployment/pods --timeout 120s >/dev/null
echo "the pods are running"
# This cluster reaches no registry.
sed 's|image: registry.k8s.io/.*|image: localhost/sleep:1|' "$ROOT/deploy/examples/first.yaml" \
    >"$KUSTOMIZATIONS/first.yaml"
apply "$KUSTOMIZATIONS/first.yaml"
k wait --for condition=Complete job/first --timeout 120s >/dev/null || fail "the first example does not work"
k wait --for condition=Ready pod/first-a pod/first-b --timeout 30s >/dev/null || fail "no ping between its pods"
k delete --filename "$KUSTOMIZATIONS/first.yaml" >/dev/null
echo "the first example works"
"$HERE/check-devices.sh"

# Prints the Ready condition of the node, with the time of its last transition.
ready_condition() {
    k get node node1 --output jsonpath='{range .status.conditions[?(@.type=="Ready")]}{.status} {.lastTransitionTime}{end}'
}
before=$(ready_condition)
(while true; do
    k get pods --selector app=pods --output name | shuf --head-count 4 | xargs --no-run-if-empty "$HERE/cluster.sh" \
        kubectl delete --wait=false >/dev/null || true
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

k delete --filename "$KUSTOMIZATIONS/node.yaml" >/dev/null
apply "$KUSTOMIZATIONS/uninstall.yaml"
k scale deployment/pods --replicas 0 >/dev/null
wait_for_rollout 300s || fail "the uninstall does not finish"
# The cluster may have definitions of others.
k get --filename "$HERE/pods.yaml" --output name >/dev/null || fail "the uninstall removed objects of pods.yaml"
k scale deployment/pods --replicas 3 >/dev/null
k rollout status deployment/pods --timeout 60s >/dev/null || fail "pods do not start without Plexus"
k delete --filename "$HERE/pods.yaml" --filename "$KUSTOMIZATIONS/uninstall.yaml" >/dev/null
k wait --for delete pod --all --timeout 180s >/dev/null
left=$("$HERE/cluster.sh" node sh -c '
    ls /var/lib/plexus/ledger /var/lib/plexus/spool | grep json
    ls /opt/cni/bin/plexus /etc/cni/net.d/00-plexus.conflist
    ls /var/lib/cni/networks/* | grep "^[0-9]"
    ip -brief link | grep veth' 2>/dev/null || true)
[ -z "$left" ] || fail "left on the node: $left"
echo "uninstalled: nothing is left on the node"
