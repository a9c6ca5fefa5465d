# Functions of the scripts that test Plexus on the cluster of cluster.sh. Each check is a script
# check-NAME.sh, which ends with status 77 if it cannot run on this cluster; its last line is the
# reason.

ROOT=$(cd "$HERE/../.." && pwd)
STATE=${STATE:-/tmp/plexus-kubernetes}
# The manifests and the chart: those of this checkout, or of an unpacked release.
DEPLOY=${DEPLOY:-$ROOT/deploy}
# The files of this check.
mkdir -p "$ROOT/target"
WORK=$(mktemp -d "$ROOT/target/kubernetes.XXXXXX")
# The process that creates the load of `under_load`.
LOAD=
trap 'kill $LOAD 2>/dev/null || true; at_exit; rm -rf "$WORK"' EXIT

# For a check to redefine.
at_exit() { :; }

k() {
    "$HERE/cluster.sh" kubectl "$@"
}

node() {
    "$HERE/cluster.sh" node "$@"
}

h() {
    node helm "$@" --kubeconfig "$STATE/admin.conf"
}

# The plugin of kubectl: tool COMMAND...
tool() {
    node env "KUBECONFIG=$STATE/admin.conf" "PATH=$DEPLOY:$PATH" kubectl plexus "$@"
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

skip() {
    echo "$*"
    exit 77
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

# wait_for_rollout [TIMEOUT] [NAMESPACE]
wait_for_rollout() {
    k --namespace "${2:-kube-system}" rollout status daemonset/plexus --timeout "${1:-120s}" >/dev/null
}

# The minor version of Kubernetes.
minor() {
    k get node node1 --output jsonpath='{.status.nodeInfo.kubeletVersion}' | sed 's/^v1\.\([0-9]*\).*/\1/'
}

# require MINOR REASON: skips the check on older versions of Kubernetes.
require() {
    [ "$(minor)" -ge "$1" ] || skip "Kubernetes 1.$1 is needed: $2"
}

# render NAME [COMPONENT...]: prints the manifests of deploy/NAME with components for this cluster.
# Older versions lack ValidatingAdmissionPolicy, and maxSurge of DaemonSets.
render() {
    local name=$1 minor deploy components=()
    shift
    minor=$(minor)
    [ "$minor" -ge 30 ] || components=(without-admission-policy)
    mkdir -p "$WORK/render"
    deploy=$(realpath --relative-to "$WORK/render" "$DEPLOY")
    {
        echo "resources: [$deploy/$name]"
        echo "components:"
        for component in "$@" "${components[@]}"; do
            echo "  - $deploy/components/$component"
        done
        if [ "$minor" -lt 22 ] && [ "$name" != crd ]; then
            echo 'patches: [{patch: "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: plexus, namespace: kube-system},
              spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 1, maxSurge: null}}}}"}]'
        fi
    } >"$WORK/render/kustomization.yaml"
    k kustomize "$WORK/render"
}

# Applies pods.yaml, and waits until its pods are running.
start_pods() {
    apply "$HERE/pods.yaml"
    k rollout status deployment/pods --timeout 120s >/dev/null || fail "the pods do not start"
}

# apply_pod NAME NETWORKS: creates a pod that selects networks.
apply_pod() {
    cat >"$WORK/pod.yaml" <<END
apiVersion: v1
kind: Pod
metadata:
  name: $1
  namespace: default
  annotations:
    k8s.v1.cni.cncf.io/networks: $2
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: sleep
      image: localhost/sleep:1
      imagePullPolicy: Never
END
    apply "$WORK/pod.yaml"
}

# The PID of the container of a pod, on the node.
container_pid() {
    local container
    container=$(k get pod "$1" --output jsonpath='{.status.containerStatuses[0].containerID}')
    node ctr --address /run/plexus-k8s/containerd.sock --namespace k8s.io tasks ls |
        awk -v id="${container##*/}" '$1 == id { print $2 }'
}

# Runs deploy/examples/first.yaml. This cluster reaches no registry.
first_example() {
    sed 's|image: registry.k8s.io/.*|image: localhost/sleep:1|' "$DEPLOY/examples/first.yaml" >"$WORK/first.yaml"
    apply "$WORK/first.yaml"
    k wait --for condition=Complete job/first --timeout 120s >/dev/null || fail "the first example does not work"
    k wait --for condition=Ready pod/first-a pod/first-b --timeout 30s >/dev/null || fail "no ping between its pods"
    k delete --filename "$WORK/first.yaml" >/dev/null
}

# The Ready condition of the node, with the time of its last transition.
ready_condition() {
    k get node node1 --output jsonpath='{range .status.conditions[?(@.type=="Ready")]}{.status} {.lastTransitionTime}{end}'
}

# under_load COMMAND...: runs a command while the pods of pods.yaml are deleted and created. Fails if a
# sandbox does not start, or if the node was not Ready the whole time.
under_load() {
    local before after failed
    k delete events --all >/dev/null
    before=$(ready_condition)
    (while true; do
        k get pods --selector app=pods --output name | shuf --head-count 4 | xargs --no-run-if-empty \
            "$HERE/cluster.sh" kubectl delete --ignore-not-found --wait=false >/dev/null || true
        sleep 1.5
    done) &
    LOAD=$!
    "$@"
    kill "$LOAD"
    LOAD=
    after=$(ready_condition)
    [ "$after" = "$before" ] || fail "the node was not Ready the whole time: before: $before, after: $after"
    k rollout status deployment/pods --timeout 180s >/dev/null || fail "the pods are not running"
    failed=$(k get events --field-selector reason=FailedCreatePodSandBox \
        --output jsonpath='{range .items[*]}{.involvedObject.name}: {.message}{"\n"}{end}')
    [ -z "$failed" ] || fail "sandboxes that failed to start:
$failed"
}

# Waits for the end of an uninstall, which was applied before. The pods of pods.yaml have to end.
finish_uninstall() {
    [ -z "$(k get deployment pods --ignore-not-found)" ] || k scale deployment/pods --replicas 0 >/dev/null
    wait_for_rollout 300s "${1:-kube-system}" || fail "the uninstall does not finish"
}

# uninstall_release CHART NAMESPACE: removes the release `plexus`. The pods of pods.yaml have to end.
uninstall_release() {
    h upgrade plexus "$1" --namespace "$2" --reuse-values --set uninstall=true
    finish_uninstall "$2"
    h uninstall plexus --namespace "$2"
}

# Fails if anything of Plexus or of its pods is on the node.
nothing_is_left() {
    local left
    k wait --for delete pod --all --timeout 180s >/dev/null
    left=$(node sh -c '
        ls /var/lib/plexus/ledger /var/lib/plexus/spool | grep json
        ls /opt/cni/bin/plexus /etc/cni/net.d/00-plexus.conflist
        ls /var/lib/cni/networks/* | grep "^[0-9]"
        ip -brief link | grep veth
        pgrep -a plexusd' 2>/dev/null || true)
    [ -z "$left" ] || fail "left on the node: $left"
}
