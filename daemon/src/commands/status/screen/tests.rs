use serde_json::{Value, json};

use super::*;

fn screen(status: &Value) -> String {
    let status: NodeStatus = serde_json::from_value(status.clone()).expect("a status");
    let mut out = Vec::new();
    print(&status, &mut out).expect("written");
    String::from_utf8(out).expect("text")
}

fn ledger() -> Value {
    json!({
        "stateDir": "/var/lib/plexus", "adding": 0, "attached": 3, "deleting": 1, "orphaned": 0,
        "unreadable": 0, "networkStatusPending": 0, "spooled": 2, "retired": 0, "quarantined": 0,
        "oldestFailure": {
            "containerId": "c1", "ifname": "eth0", "pod": "default/web", "failingSeconds": 12000,
            "failures": 4, "error": "busy",
        },
    })
}

fn daemon() -> Value {
    json!({
        "version": "0.1.0", "pid": 7, "uptimeSeconds": 59, "residentMemoryBytes": 20_000_000,
        "notReady": [
            {"kind": "not_synced", "text": "no API server", "remedy": "check the network"},
            {"kind": "state_dir", "text": "full", "remedy": "free space"},
        ],
        "warnings": [{"kind": "config_conflict", "text": "the file is changed", "remedy": "stop that"}],
        "configuration": {"path": "/etc/cni/net.d/00-plexus.conflist", "inPlace": false},
        "shim": null,
        "defaultNetwork": {
            "name": "pods", "file": "/etc/cni/net.d/10-pods.conflist", "plugins": ["bridge", "portmap"],
        },
        "objects": {
            "pods": 2, "definitions": 5, "ageSeconds": 3, "snapshotAgeSeconds": null,
            "error": "timed out",
        },
        "plugins": {"limit": 16, "runningCalls": 1, "waitingCalls": 0},
        "hotplug": {"enabled": true, "pendingPods": 2},
        "devices": {
            "kubeletSocket": "/k.sock", "kubeletSocketExists": true,
            "dra": {"slices": 4, "ageSeconds": 1, "error": "forbidden"},
        },
        "networkStatusOverdue": true, "eventsDropped": 1,
    })
}

#[test]
fn a_node_that_is_not_ready_has_each_reason_with_its_remedy() {
    assert_eq!(
        screen(&json!({"ready": false, "daemon": daemon(), "ledger": ledger()})),
        "\
plexusd          0.1.0, pid 7, up 59s, 20 MiB of memory
ready            no
                 - no API server
                   remedy: check the network
                 - full
                   remedy: free space
warning          the file is changed
                 remedy: stop that
default network  pods: bridge, portmap, from /etc/cni/net.d/10-pods.conflist
configuration    /etc/cni/net.d/00-plexus.conflist, not in place
shim             not installed by Plexus
objects          2 pods, 5 definitions, confirmed 3s ago
                 error: timed out
devices          /k.sock, in place
                 4 ResourceSlices, confirmed 1s ago
                 error: forbidden
plugins          1 of 16 permits in use, 0 calls wait
hot-plug         on, 2 pods pending
network-status   a write is overdue: the API server is slow, or refuses the write
events           1 could not be sent
sandboxes        3 attached, 1 deleting
                 DEL of c1 eth0 (pod default/web) has failed for 3h20m, 4 times: busy
                 remedy: repair the cause, then run `plexusd ledger retry --all`
                 2 spooled DELs
state directory  /var/lib/plexus
"
    );
}

#[test]
fn what_is_unknown_is_named() {
    let mut daemon = daemon();
    daemon["defaultNetwork"] = json!({"error": "no default network"});
    daemon["objects"]["snapshotAgeSeconds"] = json!(7200);
    daemon["devices"] = json!({
        "kubeletSocket": "/k.sock", "kubeletSocketExists": {"error": "denied"}, "dra": null,
    });
    let text = screen(&json!({"ready": false, "daemon": daemon, "ledger": {"error": "damaged"}}));
    for expected in [
        "default network  no default network\n",
        "objects          2 pods, 5 definitions, definitions from a snapshot of 2h0m ago\n",
        "devices          /k.sock, denied\n",
        "sandboxes        unknown: damaged\n",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}

#[test]
fn without_a_daemon_the_screen_has_the_state_on_disk() {
    let mut empty = ledger();
    empty["oldestFailure"] = json!(null);
    for count in ["attached", "deleting", "spooled"] {
        empty[count] = json!(0);
    }
    assert_eq!(
        screen(&json!({"ready": false, "daemon": null, "ledger": empty})),
        "\
plexusd          is not running; the rest of this screen is read from disk
sandboxes        no sandboxes
state directory  /var/lib/plexus
"
    );
}
