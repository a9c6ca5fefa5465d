#!/bin/bash
# Tests the chart on the cluster of cluster.sh, on which Plexus is not installed: installs it, runs
# the first example, changes a value, goes back, and uninstalls. Fails if anything is left on the
# node. helm must be on the PATH.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/lib.sh"
CHART=$ROOT/deploy/helm/plexus

h() {
    node helm "$@" --namespace kube-system --kubeconfig "$STATE/admin.conf"
}

h install plexus "$CHART" --set hotplug.enabled=true --wait --timeout 120s
first_example
h upgrade plexus "$CHART" --set hotplug.enabled=true,config.logLevel=debug --wait --timeout 120s
h rollback plexus 1 --wait --timeout 120s
first_example
h upgrade plexus "$CHART" --reuse-values --set uninstall=true --wait --timeout 120s
h uninstall plexus
nothing_is_left
echo "installed, changed and uninstalled the chart"
