//! A bond of two interfaces of the pod. A test plugin makes the bond, as bond-cni does.

use std::fs;

use plexus_e2e::{Gate, Node, Plexus, Sandbox, Script, Step, attaches};
use serde_json::json;

use crate::fixture::{assert_nothing_left, attach_and_detach, dummies, links};
use crate::start;

const PORTS: [&str; 2] = ["port0", "port1"];

/// The steps that make the bond.
fn bond() -> Vec<Step> {
    [
        "link add $IFNAME type bond mode active-backup",
        "link set net1 down",
        "link set net1 master $IFNAME",
        "link set net2 down",
        "link set net2 master $IFNAME",
        "link set $IFNAME up",
    ]
    .map(Step::ip)
    .into()
}

/// Defines the networks `port0`, `port1` and `bond`. The scripted plugins of the ports log the
/// order of the calls.
fn define(plexus: &mut Plexus<'_>) {
    dummies(plexus.node, &PORTS);
    for port in PORTS {
        let after = format!("after-{port}");
        plexus.node.plugin(&after, &Script::new());
        let plugins = json!([{"type": "host-device", "device": port}, {"type": after}]);
        let config = json!({"cniVersion": "1.0.0", "plugins": plugins});
        plexus.manifests.definition(port, &config);
    }
    plexus.network("bond", &attaches().on("ADD", bond()));
    // host-device fails CHECK because the bond changes the MAC of its second interface.
    plexus.runtime = plexus.runtime_with(json!({}));
}

/// The interfaces of a bond, in the order in which they were added.
fn interfaces(sandbox: &Sandbox<'_>, bond: &str) -> Vec<String> {
    let path = format!("/proc/thread-self/net/bonding/{bond}");
    let text = sandbox.run(|| fs::read_to_string(path)).expect("a bond");
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("Slave Interface: "));
    names.map(str::to_owned).collect()
}

/// Asserts that the bond is detached before its interfaces.
#[track_caller]
fn assert_order_of_dels(plexus: &Plexus<'_>, bond: &str) {
    let expected = [
        format!("bond {bond}"),
        "after-port1 net2".into(),
        "after-port0 net1".into(),
    ];
    let calls = plexus.calls();
    let dels: Vec<_> = calls
        .iter()
        .filter_map(|call| call.strip_prefix("DEL "))
        .collect();
    assert_eq!(dels[..3], expected, "{calls:?}");
}

#[test]
fn a_bond_has_the_two_interfaces_before_it_and_is_removed_before_them() {
    let node;
    let mut plexus = start!(node, &["bond"], &["host-device"]);
    define(&mut plexus);
    for (networks, name) in [
        ("port0,port1,bond", "net3"),
        ("port0,port1,bond@bond0", "bond0"),
    ] {
        node.forget_calls();
        attach_and_detach(&mut plexus, networks, |sandbox| {
            assert_eq!(interfaces(sandbox, name), ["net1", "net2"]);
            let mac = |link| sandbox.link(link).expect("a link").mac;
            assert_eq!(mac(name), mac("net1"));
        });
        assert_order_of_dels(&plexus, name);
    }
}

/// Starts a call, kills plexusd while the plugin of the bond waits at the gate, and starts plexusd.
fn kill_at(plexus: &mut Plexus<'_>, gate: &Gate, operation: &str, target: &plexus_e2e::CniTarget) {
    let running = plexus.runtime.start(operation, target);
    let held = gate.wait();
    plexus.daemon.kill();
    running.kill();
    plexus.network("bond", &attaches().on("ADD", bond()));
    held.release();
    plexus.daemon.restart();
    plexus.wait_records(&[]);
}

fn gate(node: &Node) -> (Gate, Step) {
    let gate = node.gate("bond");
    let step = gate.step();
    (gate, step)
}

#[test]
fn a_bond_is_removed_if_plexusd_is_killed_before_its_add_ends() {
    let node;
    let mut plexus = start!(node, &["bond"], &["host-device"]);
    define(&mut plexus);
    let before = links(&node);
    let (gate, step) = gate(&node);
    let steps = bond().into_iter().chain([step]);
    plexus.network("bond", &attaches().on("ADD", steps));
    let (sandbox, target) = plexus.sandbox("pod", "port0,port1,bond@bond0");
    kill_at(&mut plexus, &gate, "ADD", &target);
    assert_nothing_left(&plexus, &sandbox, &before);
    assert_order_of_dels(&plexus, "bond0");
}

#[test]
fn a_bond_is_removed_if_plexusd_is_killed_during_its_del() {
    let node;
    let mut plexus = start!(node, &["bond"], &["host-device"]);
    define(&mut plexus);
    let before = links(&node);
    let (sandbox, target) = plexus.attached("pod", "port0,port1,bond@bond0");
    let (gate, step) = gate(&node);
    plexus.network("bond", &Script::new().on("DEL", [step]));
    kill_at(&mut plexus, &gate, "DEL", &target);
    assert_nothing_left(&plexus, &sandbox, &before);
}
