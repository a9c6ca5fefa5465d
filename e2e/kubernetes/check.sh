#!/bin/bash
# Runs checks on the cluster of cluster.sh, all by default, and prints which of them passed, and which
# were skipped and why. Stops at the first one that fails, because each depends on what the ones
# before it leave.
#
#   check.sh [CHECK...]    CHECK is the name of a script check-CHECK.sh
set -uo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- installation devices hotplug tools rollouts uninstall chart compositions upgrade
LOG=$(mktemp)
RESULTS=$(mktemp)
current= passed=0 failed=0 skipped=0

report() {
    [ -z "$current" ] || echo "  $current: interrupted" >>"$RESULTS"
    echo "checks:"
    cat "$RESULTS"
    # As cargo prints it, for tiers.sh: a skipped test is one of those that passed.
    echo "test result: $([ "$failed" = 0 ] && echo ok || echo FAILED). $((passed + skipped)) passed; $failed failed;"
    rm -f "$LOG" "$RESULTS"
}
trap report EXIT

for current in "$@"; do
    start=$SECONDS
    "$HERE/check-$current.sh" 2>&1 | tee --ignore-interrupts "$LOG"
    case ${PIPESTATUS[0]} in
    0)
        passed=$((passed + 1))
        echo "  $current: passed in $((SECONDS - start)) s" >>"$RESULTS"
        ;;
    77)
        skipped=$((skipped + 1))
        echo "  $current: skipped: $(tail -n 1 "$LOG")" >>"$RESULTS"
        echo "skipped kubernetes::$current: $(tail -n 1 "$LOG")"
        ;;
    130 | 143) exit 130 ;;
    *)
        failed=1
        echo "  $current: FAILED after $((SECONDS - start)) s" >>"$RESULTS"
        break
        ;;
    esac
done
current=
exit "$failed"
