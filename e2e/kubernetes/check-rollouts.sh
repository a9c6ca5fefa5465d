#!/bin/bash
# Rolls the installation of check-installation.sh out COUNT times, 20 by default, while pods with two
# secondary networks are deleted and created.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/lib.sh"

require 22 "older DaemonSets cannot start the new plexusd before the old one ends (maxSurge)"
roll_out() {
    for round in $(seq "${COUNT:-20}"); do
        k --namespace kube-system rollout restart daemonset/plexus >/dev/null
        wait_for_rollout || fail "rollout $round does not finish"
    done
}
under_load roll_out
echo "${COUNT:-20} rollouts"
