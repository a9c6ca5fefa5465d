#!/bin/bash
# Tests all components together, with a configuration and a namespace of its own, on the cluster of
# cluster.sh, on which Plexus is not installed: first by kustomization, then by the chart. Fails if a
# component has no effect, if the API server changes what was applied, or if anything is left.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/lib.sh"
NAMESPACE=plexus

require 34 "the component dra has resource.k8s.io/v1"
at_exit() {
    k delete --ignore-not-found --filename "$HERE/monitoring-crds.yaml" >/dev/null 2>&1 || true
}
# kustomization DIRECTORY FILE: renders the kustomization of a user, with deploy/ or deploy/uninstall.
kustomization() {
    local deploy
    mkdir -p "$WORK/all"
    deploy=$(realpath --relative-to "$WORK/all" "$DEPLOY")
    cat >"$WORK/all/daemon-config.json" <<'END'
{
    "cniConfigDir": "/etc/cni/net.d", "multusAutoconfigDir": "/etc/cni/net.d", "shimDir": "/opt/cni/bin",
    "mountNamespace": "caller", "maxPluginRuns": 8, "logLevel": "debug"
}
END
    cat >"$WORK/all/namespace.yaml" <<END
apiVersion: v1
kind: Namespace
metadata:
  name: $NAMESPACE
  labels:
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/audit: privileged
    pod-security.kubernetes.io/warn: privileged
END
    cat >"$WORK/all/kustomization.yaml" <<END
namespace: $NAMESPACE
resources: [namespace.yaml, $deploy/$1]
components:
$(for component in rke2 monitoring service-monitor startup-taint hotplug dra; do
        echo "  - $deploy/components/$component"
    done)
configMapGenerator:
  - {name: plexus, namespace: kube-system, behavior: merge, files: [daemon-config.json]}
END
    k kustomize "$WORK/all" >"$WORK/$2"
}
no_difference() {
    k diff "$@" >"$WORK/diff" 2>&1 || fail "kubectl diff $* after apply: $(cat "$WORK/diff")"
}
has_no_taint() {
    [ -z "$(k get node node1 --output jsonpath='{.spec.taints[?(@.key=="plexus.dev/not-ready")].key}')" ]
}
interfaces() {
    k get pod web --output jsonpath='{.metadata.annotations.k8s\.v1\.cni\.cncf\.io/network-status}' |
        sed -n 's/.*"interface": *"\([^"]*\)".*/\1/p' | xargs
}
has() { [ "$(interfaces)" = "$1" ]; }
ACCOUNT=system:serviceaccount:$NAMESPACE:plexus
# denied_by POLICY PATH PATCH: a policy refuses a patch of the service account, which the rights allow.
# kubectl would also read the object, for which there is no right.
denied_by() {
    node curl --silent --cacert "$STATE/pki/ca.crt" --cert "$STATE/pki/admin.crt" --key "$STATE/pki/admin.key" \
        --header "Impersonate-User: $ACCOUNT" --header "Content-Type: application/merge-patch+json" \
        --request PATCH --data "$3" "https://10.99.0.1:6443/api/v1/$2" >"$WORK/answer"
    grep --quiet "ValidatingAdmissionPolicy '$1' .*denied" "$WORK/answer" ||
        fail "not denied by $1: $(cat "$WORK/answer")"
}
# Each component has its effect, and so has the configuration.
components_work() {
    local metrics=$WORK/metrics log=$WORK/log
    wait_until has_no_taint
    node curl --silent --fail http://127.0.0.1:9037/metrics >"$metrics" || fail "no metrics"
    grep --quiet '^plexus_' "$metrics" || fail "no metrics of Plexus"
    for kind in servicemonitor prometheusrule service configmap/plexus-dashboard; do
        [ -n "$(k --namespace "$NAMESPACE" get "$kind" --output name)" ] || fail "no $kind"
    done
    tool doctor node1 >"$log" ||
        fail "doctor: $(cat "$log")"
    grep --quiet '^ok *startup-taint' "$log" || fail "no start-up taint: $(cat "$log")"
    tool status node1 >"$log"
    for text in "of 8 permits" "hot-plug         on"; do
        grep --quiet --fixed-strings "$text" "$log" || fail "no \"$text\": $(cat "$log")"
    done
    k --as "$ACCOUNT" auth can-i list resourceslices.resource.k8s.io >/dev/null 2>&1 || fail "no rights for claims"
    first_example

    start_pods
    apply_pod web lan
    k wait --for condition=Ready pod/web --timeout 60s >/dev/null || fail "the pod does not start"
    k annotate --overwrite pod web k8s.v1.cni.cncf.io/networks=lan,storage@data0 >/dev/null
    wait_until has "eth0 net1 data0"
    # The policies restrict a token without a node, whatever the namespace.
    denied_by plexus-pod-status namespaces/default/pods/web/status '{"status": {"phase": "Failed"}}'
    denied_by plexus-startup-taint nodes/node1 '{"spec": {"unschedulable": true}}'
    k delete pod web >/dev/null
}
taint() { k taint nodes node1 plexus.dev/not-ready=:NoSchedule >/dev/null; }

apply "$HERE/monitoring-crds.yaml"
k wait --for condition=Established --timeout 30s --filename "$HERE/monitoring-crds.yaml" >/dev/null

kustomization . all.yaml
kustomization uninstall uninstall.yaml
taint
apply "$WORK/all.yaml"
wait_for_rollout 120s "$NAMESPACE"
no_difference --filename "$WORK/all.yaml"
k apply --server-side --validate=false --filename "$WORK/all.yaml" >/dev/null || fail "server-side apply"
no_difference --server-side --filename "$WORK/all.yaml"
components_work
apply "$WORK/uninstall.yaml"
finish_uninstall "$NAMESPACE"
k delete --filename "$HERE/pods.yaml" --filename "$WORK/uninstall.yaml" >/dev/null
nothing_is_left
echo "by kustomization"

command -v helm >/dev/null || { echo "not by the chart: helm is missing" && exit; }
release() {
    h "$@" --namespace "$NAMESPACE" --wait --timeout 120s
}
apply "$WORK/all/namespace.yaml"
taint
release install plexus "$DEPLOY/helm/plexus" --set config.maxPluginRuns=8,config.logLevel=debug,distribution=rke2 \
    --set monitoring.enabled=true,monitoring.kind=ServiceMonitor,startupTaint.enabled=true \
    --set hotplug.enabled=true,dra.enabled=true
components_work
uninstall_release "$DEPLOY/helm/plexus" "$NAMESPACE"
k delete --filename "$HERE/pods.yaml" --filename "$WORK/all/namespace.yaml" >/dev/null
nothing_is_left
echo "by the chart"
