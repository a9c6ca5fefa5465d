//! plexusd is killed while a pod starts or ends.

use std::thread;

use plexus_e2e::{Pod, Script};
use serde_json::json;

use crate::start;

#[test]
fn a_pod_whose_start_was_interrupted_leaves_nothing() {
    let node;
    let mut plexus = start!(node, json!({"daemonWaitDel": "1s"}));
    // Whether plexusd is restarted before or after the runtime abandons the pod.
    for name in ["before", "after"] {
        let gate = node.gate(name);
        plexus.network(name, &Script::new().on("ADD", [gate.step()]));
        let cri = plexus.cri.clone();
        let pod = Pod::new("web").with_networks(format!("lan, {name}"));
        let run = thread::spawn(move || cri.run(&pod));
        let held = gate.wait();
        plexus.daemon.kill();
        // Later calls for this pod wait for the surviving plugin.
        let result = if name == "before" {
            plexus.daemon.launch();
            drop(held);
            run.join()
        } else {
            let result = run.join();
            plexus.daemon.launch();
            drop(held);
            result
        };
        let error = result.expect("no panic").expect_err("ADD was interrupted");
        assert!(error.message.contains("plexusd"), "{error}");
        plexus.daemon.wait_ready();
        for sandbox in plexus.cri.list().expect("a list") {
            plexus.remove_pod(&sandbox.id);
        }
        plexus.wait_nothing_left();
    }
    let id = plexus.run_pod(&Pod::new("web").with_networks("lan, storage"));
    assert_eq!(
        plexus.pods(),
        [["eth0 10.4.0.4/16", "net1 10.5.0.4/16", "net2 10.6.0.2/16"]]
    );
    plexus.remove_pod(&id);
    plexus.wait_nothing_left();
}

#[test]
fn an_interrupted_stop_is_completed() {
    let node;
    let mut plexus = start!(node, json!({"daemonWaitDel": "20s"}));
    let gate = node.gate("held");
    plexus.network("held", &Script::new().on("DEL", [gate.step()]));
    let id = plexus.run_pod(&Pod::new("web").with_networks("lan, held"));
    let (cri, sandbox) = (plexus.cri.clone(), id.clone());
    let stop = thread::spawn(move || cri.stop(&sandbox));
    let held = gate.wait();
    node.plugin("held", &Script::new());
    plexus.daemon.kill();
    drop(held);
    plexus.daemon.launch();
    stop.join()
        .expect("no panic")
        .expect("the shim repeats the DEL");
    plexus.cri.remove(&id).expect("RemovePodSandbox");
    plexus.wait_nothing_left();
}
