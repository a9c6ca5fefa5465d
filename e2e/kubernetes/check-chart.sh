#!/bin/bash
# Tests the chart on the cluster of cluster.sh, on which Plexus is not installed: installs it, runs
# the first example, changes a value, goes back, and uninstalls. Fails if anything is left on the
# node.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/lib.sh"

command -v helm >/dev/null || skip "helm is missing"
require 30 "the chart has ValidatingAdmissionPolicies"
release() {
    h "$@" --namespace kube-system --wait --timeout 120s
}

release install plexus "$DEPLOY/helm/plexus" --set hotplug.enabled=true
first_example
release upgrade plexus "$DEPLOY/helm/plexus" --set hotplug.enabled=true,config.logLevel=debug
release rollback plexus 1
first_example
uninstall_release "$DEPLOY/helm/plexus" kube-system
nothing_is_left
