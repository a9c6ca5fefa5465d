#!/bin/bash
# Tests upgrades on the cluster of cluster.sh, on which Plexus is not installed: installs the version in
# UPGRADE_FROM, upgrades to this one, rolls back, upgrades again, and uninstalls, while pods with two
# secondary networks are deleted and created. First by kustomization, then by the chart.
#
# UPGRADE_FROM is a checkout of another version, in which `make image` has run.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/lib.sh"

[ -n "${UPGRADE_FROM:-}" ] || skip "UPGRADE_FROM is not set: a checkout of another version"
require 30 "the manifests have ValidatingAdmissionPolicies"
ctr() {
    node ctr --address /run/plexus-k8s/containerd.sock --namespace k8s.io "$@" >/dev/null
}
# image ARCHIVE TAG: imports the image of an archive as localhost/plexus:TAG.
image() {
    local name
    name=$(tar --extract --to-stdout --file "$1" index.json |
        sed 's/.*"org.opencontainers.image.ref.name": *"\([^"]*\)".*/\1/')
    ctr images import "$1"
    ctr images tag --force "$name" "localhost/plexus:$2"
}
# manifests DIRECTORY TAG: prints the manifests of a directory with the image of that tag.
manifests() {
    mkdir -p "$WORK/tagged"
    cat >"$WORK/tagged/kustomization.yaml" <<END
resources: [$(realpath --relative-to "$WORK/tagged" "$1")]
images: [{name: localhost/plexus, newTag: $2}]
END
    k kustomize "$WORK/tagged"
}
install() {
    apply "$WORK/$1.yaml"
    wait_for_rollout || fail "the rollout of version $1 does not finish"
}
up_and_back() {
    install new
    install old
    install new
}
# The same with the chart.
release() {
    h "$@" --namespace kube-system --wait --timeout 120s
}
up_and_back_by_chart() {
    release upgrade plexus "$DEPLOY/helm/plexus" --set image.tag=new
    release rollback plexus 1
    release upgrade plexus "$DEPLOY/helm/plexus" --set image.tag=new
}

image "$UPGRADE_FROM/dist/plexus-image.tar" old
image "${IMAGE:-$ROOT/dist/plexus-image.tar}" new
manifests "$UPGRADE_FROM/deploy" old >"$WORK/old.yaml"
manifests "$DEPLOY" new >"$WORK/new.yaml"
manifests "$DEPLOY/uninstall" new >"$WORK/uninstall.yaml"

apply "$UPGRADE_FROM/deploy/crd/network-attachment-definitions.yaml"
k wait --for condition=Established crd/network-attachment-definitions.k8s.cni.cncf.io >/dev/null
install old
start_pods
under_load up_and_back
apply "$WORK/uninstall.yaml"
finish_uninstall
k delete --filename "$HERE/pods.yaml" --filename "$WORK/uninstall.yaml" >/dev/null
nothing_is_left
echo "by kustomization"

command -v helm >/dev/null || { echo "not by the chart: helm is missing" && exit; }
release install plexus "$UPGRADE_FROM/deploy/helm/plexus" --set image.tag=old
start_pods
under_load up_and_back_by_chart
uninstall_release "$DEPLOY/helm/plexus" kube-system
k delete --filename "$HERE/pods.yaml" >/dev/null
nothing_is_left
echo "by the chart"
