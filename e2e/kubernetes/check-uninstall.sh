#!/bin/bash
# Deletes the installation of check-installation.sh without a warning, and uninstalls it. Fails if
# definitions are deleted, if pods do not start afterwards, or if anything is left on the node.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/lib.sh"

render node >"$WORK/node.yaml"
render uninstall >"$WORK/uninstall.yaml"
k delete --filename "$WORK/node.yaml" >/dev/null
apply "$WORK/uninstall.yaml"
finish_uninstall
# The cluster may have definitions of others.
k get --filename "$HERE/pods.yaml" --output name >/dev/null || fail "the uninstall removed objects of pods.yaml"
k scale deployment/pods --replicas 3 >/dev/null
k rollout status deployment/pods --timeout 60s >/dev/null || fail "pods do not start without Plexus"
k delete --filename "$HERE/pods.yaml" --filename "$WORK/uninstall.yaml" >/dev/null
nothing_is_left
