#!/bin/bash
# Tests the plugin of kubectl on the installation of check-installation.sh: the state of the node, its
# diagnosis, the networks of a pod that runs, of one that lost an interface and of one that does not
# start, the records, and the log level.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/lib.sh"

plexus() {
    tool "$@" </dev/null >"$WORK/output" 2>&1
}
# says TEXT...: fails unless the output of the last command contains each text.
says() {
    for text in "$@"; do
        grep --quiet --fixed-strings -- "$text" "$WORK/output" || fail "no \"$text\" in: $(cat "$WORK/output")"
    done
}
succeeds() { plexus "$@" || fail "kubectl plexus $*: $(cat "$WORK/output")"; }

pod=$(k get pods --selector app=pods --output jsonpath='{.items[0].metadata.name}')
count=$(k get pods --selector app=pods --output name | wc -l)
succeeds status
says "node node1" "ready            yes" "sandboxes        $count attached"
succeeds status node1 -o json
says "\"attached\": $count"
succeeds doctor node1
says "everything is in order"
succeeds inspect "$pod"
says "net1            default/lan: attached" "data0           default/storage: attached"
succeeds ledger node1 list
[ "$(grep --count "^attached " "$WORK/output")" = "$count" ] || fail "not $count records: $(cat "$WORK/output")"
succeeds loglevel node1 debug
succeeds logs node1 --tail 5
succeeds loglevel node1 verbose

# An interface that someone removed.
node nsenter --net="/proc/$(container_pid "$pod")/ns/net" ip link del data0
plexus inspect "$pod" || true
says "interface data0 of network default/storage is attached, but is no longer in the sandbox"
plexus doctor node1 || true
says "default/$pod" "interface data0 of network default/storage"
k delete pod "$pod" >/dev/null
k rollout status deployment/pods --timeout 60s >/dev/null
succeeds doctor node1

# A network that does not exist.
apply_pod lost "typo"
has_events() {
    [ -n "$(k get events --field-selector reason=FailedCreatePodSandBox,involvedObject.name=lost --output name)" ]
}
wait_until has_events
plexus inspect lost || true
says default/typo
k delete pod lost --now >/dev/null
