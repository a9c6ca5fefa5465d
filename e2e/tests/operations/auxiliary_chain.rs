//! `auxiliaryCNIChainName`: plugins in a directory on the node that run for every pod.

use std::fs;

use plexus_api::rows;
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::{Plexus, Pod, Step, attaches, node, or_skip};
use serde_json::{Value, json};

#[test]
fn the_auxiliary_chain_changes_the_default_interface_with_the_tuning_plugin() {
    let node = node!();
    let plugins = ["bridge", "host-local", "tuning"];
    node.real_plugins(&or_skip!(plugin_dir(&plugins)), &plugins);
    let ipam = json!({"type": "host-local", "subnet": "10.7.0.0/24"});
    let bridge = json!({"type": "bridge", "bridge": "cni0", "ipam": ipam});
    let default = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]});
    let default = node.write_json("net.d/10-pods.conflist", &default);
    let sysctl = json!({"net.ipv4.conf.eth0.arp_filter": "1"});
    let tuning = json!({"name": "arp", "type": "tuning", "sysctl": sysctl});
    node.write_json("net.d/vendor-chain/10-arp.conf", &tuning);
    let keys = json!({"clusterNetwork": default, "auxiliaryCNIChainName": "vendor-chain"});
    let plexus = Plexus::start_with(&node, keys);
    let (sandbox, target) = plexus.attached("pod", "");
    let arp_filter = sandbox.run(|| fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/arp_filter"));
    assert_eq!(arp_filter.expect("arp_filter").trim(), "1");
    let status = plexus.network_status(&Pod::new("pod")).expect("status");
    let entries = status.as_array().expect("a list");
    assert_eq!(
        entries.len(),
        1,
        "a chain without interfaces has no entry: {status}"
    );
    assert_eq!(entries[0]["name"], "pods");
    plexus.runtime.check(&target).expect_success();
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn the_auxiliary_chain_runs_last_and_its_files_may_change() {
    rows!("R-069");
    let node = node!();
    for name in ["one", "two"] {
        let empty = Step::Result(json!({"cniVersion": "$CNIVERSION"}));
        node.plugin(name, &attaches().on("ADD", [empty]));
    }
    node.write_json("net.d/chain/20-two.conf", &json!({"type": "two"}));
    node.write_json("net.d/chain/10-one.conf", &json!({"type": "one"}));
    let main = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "main"}]});
    let main = node.write_json("net.d/10-pods.conflist", &main);
    let keys = json!({"clusterNetwork": main, "auxiliaryCNIChainName": "chain"});
    let plexus = Plexus::start_with(&node, keys);
    plexus.network("a", &attaches());
    let (_sandbox, target) = plexus.attached("pod", "a");
    let add = [
        "ADD main eth0",
        "ADD a net1",
        "ADD one net2",
        "ADD two net2",
    ];
    assert_eq!(plexus.calls(), add);
    let first: Value = serde_json::from_str(&plexus.calls_of("ADD")[2].stdin).expect("JSON");
    assert_eq!(first["prevResult"], json!({"cniVersion": "1.0.0"}));
    assert_eq!(first["name"], "chain");

    // DEL uses the record, whatever the directory contains by then.
    node.forget_calls();
    let dir = node.scratch().join("net.d/chain");
    fs::remove_dir_all(&dir).expect("the directory");
    plexus.runtime.del(&target).expect_success();
    let del = [
        "DEL two net2",
        "DEL one net2",
        "DEL a net1",
        "DEL main eth0",
    ];
    assert_eq!(plexus.calls(), del);

    // As in Multus, pods start without the chain if a file is missing or invalid.
    for (pod, content) in [
        ("missing", None),
        ("invalid", Some(json!({"name": "no type"}))),
        ("recursive", Some(json!({"type": "multus"}))),
    ] {
        node.forget_calls();
        if let Some(content) = &content {
            node.write_json("net.d/chain/10-one.conf", content);
        }
        let (_sandbox, target) = plexus.attached(pod, "a");
        assert_eq!(plexus.calls(), ["ADD main eth0", "ADD a net1"], "{pod}");
        plexus.runtime.del(&target).expect_success();
    }
    assert!(
        plexus
            .daemon
            .log()
            .contains("without the auxiliary chain in ")
    );
}

#[test]
fn a_definition_cannot_take_the_name_of_the_chain_while_isolation_is_on() {
    let node = node!();
    for name in ["main", "one"] {
        node.plugin(name, &attaches());
    }
    node.write_json("net.d/chain/10-one.conf", &json!({"type": "one"}));
    let main = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "main"}]});
    let main = node.write_json("net.d/10-pods.conflist", &main);
    let plexus = Plexus::start_with(
        &node,
        json!({"clusterNetwork": main, "auxiliaryCNIChainName": "chain", "namespaceIsolation": true}),
    );
    let config = json!({"cniVersion": "1.0.0", "name": "chain", "type": "one"}).to_string();
    plexus.manifests.definition_in("ns", "a", Some(&config));
    let pod = Pod::new("pod").in_namespace("ns").with_networks("a");
    let target = node.sandbox("pod").target(&pod);
    let output = plexus.runtime.add(&target);
    output.expect_error(106, &["ns/a", "\"chain\"", "namespace isolation"]);
}
