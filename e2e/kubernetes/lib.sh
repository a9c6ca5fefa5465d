# Functions of the scripts that test Plexus on the cluster of cluster.sh.

ROOT=$(cd "$HERE/../.." && pwd)
STATE=${STATE:-/tmp/plexus-kubernetes}

k() {
    "$HERE/cluster.sh" kubectl "$@"
}

node() {
    "$HERE/cluster.sh" node "$@"
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# wait_until COMMAND...: waits until a command succeeds.
wait_until() {
    for _ in $(seq 240); do
        if "$@"; then return; fi
        sleep 0.25
    done
    fail "not after 240 attempts: $*"
}

apply() {
    k apply --validate=false --filename "$1" >/dev/null
}

wait_for_rollout() {
    k --namespace kube-system rollout status daemonset/plexus --timeout "${1:-120s}" >/dev/null
}

# The minor version of Kubernetes.
minor() {
    k get node node1 --output jsonpath='{.status.nodeInfo.kubeletVersion}' | sed 's/^v1\.\([0-9]*\).*/\1/'
}

# render NAME [COMPONENT...]: prints the manifests of deploy/NAME with components for this cluster.
# Older versions lack ValidatingAdmissionPolicy, and maxSurge of DaemonSets.
render() {
    local name=$1 minor dir components=()
    shift
    minor=$(minor)
    [ "$minor" -ge 30 ] || components=(without-admission-policy)
    dir=$(mktemp -d "$ROOT/target/kubernetes.XXXXXX")
    {
        echo "resources: [../../deploy/$name]"
        echo "components:"
        for component in "$@" "${components[@]}"; do
            echo "  - ../../deploy/components/$component"
        done
        if [ "$minor" -lt 22 ] && [ "$name" != crd ]; then
            echo 'patches: [{patch: "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: plexus, namespace: kube-system},
              spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 1, maxSurge: null}}}}"}]'
        fi
    } >"$dir/kustomization.yaml"
    k kustomize "$dir"
    rm -r "$dir"
}

# Runs deploy/examples/first.yaml. This cluster reaches no registry.
first_example() {
    local manifest
    manifest=$(mktemp)
    sed 's|image: registry.k8s.io/.*|image: localhost/sleep:1|' "$ROOT/deploy/examples/first.yaml" >"$manifest"
    apply "$manifest"
    k wait --for condition=Complete job/first --timeout 120s >/dev/null || fail "the first example does not work"
    k wait --for condition=Ready pod/first-a pod/first-b --timeout 30s >/dev/null || fail "no ping between its pods"
    k delete --filename "$manifest" >/dev/null
    rm "$manifest"
}

# Fails if anything of Plexus or of its pods is on the node.
nothing_is_left() {
    local left
    k wait --for delete pod --all --timeout 180s >/dev/null
    left=$(node sh -c '
        ls /var/lib/plexus/ledger /var/lib/plexus/spool | grep json
        ls /opt/cni/bin/plexus /etc/cni/net.d/00-plexus.conflist
        ls /var/lib/cni/networks/* | grep "^[0-9]"
        ip -brief link | grep veth' 2>/dev/null || true)
    [ -z "$left" ] || fail "left on the node: $left"
}
