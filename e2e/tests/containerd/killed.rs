//! plexusd is killed while a pod starts or ends.

use std::thread;

use plexus_e2e::{Pod, Script};
use serde_json::json;

use crate::stage;

#[test]
fn a_pod_whose_start_is_cut_short_leaves_nothing() {
    let node;
    // Whether plexusd is back before the runtime gives the pod up, or after.
    let mut stage = stage!(node, json!({"daemonWaitDel": "1s"}));
    let held = |name: &str, config| {
        let gate = node.gate(name);
        node.plugin(name, &Script::new().on("ADD", [gate.step()]));
        stage.manifests.definition(name, &config);
        gate
    };
    let gates = ["soon", "late"].map(|name| {
        (
            name,
            held(name, json!({"cniVersion": "1.0.0", "type": name})),
        )
    });
    for (name, gate) in gates {
        let cri = stage.cri.clone();
        let pod = Pod::new("web").with_networks(format!("lan, {name}"));
        let run = thread::spawn(move || cri.run(&pod));
        let plugin = gate.wait();
        stage.daemon.kill9();
        // What is done next for this pod waits for the plugin that was left behind.
        let refused = if name == "soon" {
            stage.daemon.launch();
            drop(plugin);
            run.join()
        } else {
            let refused = run.join();
            stage.daemon.launch();
            drop(plugin);
            refused
        };
        let refused = refused.expect("no panic").expect_err("it was cut short");
        assert!(refused.message.contains("plexusd"), "{refused}");
        stage.daemon.wait_ready();
        for sandbox in stage.cri.list().expect("a list") {
            stage.end(&sandbox.id);
        }
        stage.expect_nothing_left();
    }
    let id = stage.run(&Pod::new("web").with_networks("lan, storage"));
    assert_eq!(
        stage.pods(),
        [["eth0 10.4.0.4/16", "net1 10.5.0.4/16", "net2 10.6.0.2/16"]]
    );
    stage.end(&id);
    stage.expect_nothing_left();
}

#[test]
fn a_pods_end_goes_on_where_it_was_cut_short() {
    let node;
    let mut stage = stage!(node, json!({"daemonWaitDel": "20s"}));
    let gate = node.gate("held");
    node.plugin("held", &Script::new().on("DEL", [gate.step()]));
    stage
        .manifests
        .definition("held", &json!({"cniVersion": "1.0.0", "type": "held"}));
    let id = stage.run(&Pod::new("web").with_networks("lan, held"));
    let (cri, of) = (stage.cri.clone(), id.clone());
    let stop = thread::spawn(move || cri.stop(&of));
    let plugin = gate.wait();
    node.plugin("held", &Script::new());
    stage.daemon.kill9();
    drop(plugin);
    stage.daemon.launch();
    stop.join().expect("no panic").expect("the shim asks again");
    stage.cri.remove(&id).expect("it is stopped");
    stage.expect_nothing_left();
}
