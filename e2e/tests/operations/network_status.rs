//! network-status in the directory of manifests.

use std::fs;

use plexus_api::rows;
use plexus_e2e::{NodeWatch, Plexus, Pod, Step, attaches, node};
use serde_json::json;

#[test]
fn entries_of_the_status_are_derived_from_results() {
    rows!("K-083", "K-084", "K-085", "K-086", "K-087");
    let node = node!();
    let plexus = Plexus::start(&node);
    let main = json!({
        "cniVersion": "$CNIVERSION",
        "interfaces": [
            {"name": "veth0", "mac": "02:00:00:00:00:01"},
            {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "$NETNS"},
            {"name": "other", "mac": "02:00:00:00:00:03", "sandbox": "$NETNS"},
        ],
        "ips": [
            {"address": "10.1.2.3/24", "interface": 1},
            {"address": "2001:db8::3/64", "gateway": "2001:db8::1", "interface": 2},
        ],
        "routes": [{"dst": "::/0", "gw": "2001:db8::1"}],
    });
    let script = attaches().on("ADD", [Step::link(), Step::Result(main)]);
    node.plugin("main", &script);
    let script = attaches().on("ADD", [Step::link(), Step::Result(json!({}))]);
    plexus.network("a", &script);
    let pod = Pod::new("p").with_networks("a");
    let sandbox = node.sandbox("pod");
    sandbox.ip("link add other type bridge");
    plexus.runtime.add(&sandbox.target(&pod)).result();
    let expected = json!([
        {"name": "pods", "interface": "eth0", "ips": ["10.1.2.3"], "mac": "02:00:00:00:00:02",
         "dns": {}, "gateway": ["2001:db8::1"]},
        {"name": "pods", "interface": "other", "ips": ["2001:db8::3"], "mac": "02:00:00:00:00:03",
         "default": true, "dns": {}, "gateway": ["2001:db8::1"]},
        {"name": "default/a", "interface": "net1", "dns": {}},
    ]);
    assert_eq!(plexus.network_status(&pod), Some(expected));
}

#[test]
fn del_of_an_older_sandbox_keeps_the_status_of_a_newer_one() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let pod = Pod::new("p");
    let [old, new] = ["10.1.0.2", "10.1.0.3"].map(|address| {
        let add = [Step::link(), Step::result(&format!("{address}/24"), "")];
        node.plugin("main", &attaches().on("ADD", add));
        let target = node.sandbox(address).target(&pod);
        plexus.runtime.add(&target).result();
        target
    });
    plexus.runtime.del(&old).expect_success();
    let status = plexus.network_status(&pod).expect("network-status");
    assert_eq!(status[0]["ips"][0], "10.1.0.3");
    plexus.runtime.del(&new).expect_success();
    assert_eq!(plexus.network_status(&pod), None);
}

#[test]
fn add_is_rolled_back_if_the_required_status_cannot_be_written() {
    rows!("P-086");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"statusRequired": true}));
    plexus.network("a", &attaches());
    // A directory at the path of the status.
    let blocker = plexus.manifests.dir().join("default.p.network-status.json");
    fs::create_dir_all(blocker.join("x")).expect("create the directory");
    let (sandbox, target) = plexus.sandbox("p", "a");
    let output = plexus.runtime.add(&target);
    output.expect_error(11, &["network-status"]);
    fs::remove_dir_all(blocker).expect("remove the directory");
    assert_eq!(plexus.calls()[2..], ["DEL a net1", "DEL main eth0"]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_status_that_cannot_be_written_is_retried() {
    rows!("K-092");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"recoveryInterval": "10ms"}));
    let pod = Pod::new("p");
    let blocker = plexus.manifests.dir().join("default.p.network-status.json");
    fs::create_dir_all(blocker.join("x")).expect("create the directory");
    let sandbox = node.sandbox("pod");
    let target = sandbox.target(&pod);
    plexus.runtime.add(&target).result();
    fs::remove_dir_all(blocker).expect("remove the directory");
    NodeWatch::new(&node, &[plexus.manifests.dir()])
        .wait_while(|| plexus.network_status(&pod).is_none().then_some("no status"));
    let status = plexus.network_status(&pod).expect("network-status");
    assert_eq!(status[0]["name"], "pods");
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}
