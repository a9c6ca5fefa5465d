//! Pods that Multus attached before Plexus took its place on the node.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::mount::{MsFlags, mount, umount};
use plexus_api::rows;
use plexus_e2e::{Call, Pod, Script, Step, node};
use serde_json::{Value, json};

use crate::plexus::{MAIN, Plexus, attaches, target};

const MULTUS: &str = "/var/lib/cni/multus";

/// What Multus has of a pod with its default network alone.
fn remember(id: &str) {
    let main = json!({"cniVersion": "1.0.0", "name": "pods", "type": MAIN});
    let cached = json!({"kind": "cniCacheV1", "containerId": id, "config": encoded(&main)});
    fs::create_dir_all(format!("{MULTUS}/results")).expect("a directory");
    fs::write(
        format!("{MULTUS}/{id}"),
        json!([{"Name": "pods", "Bytes": encoded(&main)}]).to_string(),
    )
    .expect("a file");
    fs::write(
        format!("{MULTUS}/results/pods-{id}-eth0"),
        cached.to_string(),
    )
    .expect("a file");
}

fn encoded(value: &Value) -> String {
    STANDARD.encode(value.to_string())
}

#[test]
fn a_pod_that_multus_attached_is_checked_and_deleted_with_what_it_was_added_with() {
    rows!("R-088");
    let node = node!();
    let plexus = Plexus::start(&node);
    node.plugin("lan", &attaches());
    let pod = Pod::new("web");
    let sandbox = node.sandbox("web");
    let main = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": MAIN, "own": {"a": 1}}]});
    let lan = json!({"cniVersion": "1.0.0", "name": "lan", "type": "lan"});
    let id = sandbox.id();
    let result = |address: &str| json!({"cniVersion": "1.0.0", "ips": [{"address": address}]});
    let cached = |config: &Value, address: &str| {
        json!({
            "kind": "cniCacheV1", "containerId": id, "netns": sandbox.path(), "config": encoded(config),
            "cniArgs": [["IgnoreUnknown", "true"], ["K8S_POD_NAME", "web"]], "result": result(address),
        })
    };
    let delegates = json!([{"Name": "pods", "Bytes": encoded(&main)}, {"Name": "default/lan", "Bytes": encoded(&lan)}]);
    node.run(|| {
        fs::create_dir_all(format!("{MULTUS}/results")).expect("a directory");
        fs::write(format!("{MULTUS}/{id}"), delegates.to_string()).expect("a file");
        for (name, text) in [
            (format!("pods-{id}-eth0"), cached(&main, "10.1.0.2/24")),
            (format!("lan-{id}-net1"), cached(&lan, "10.2.0.2/24")),
        ] {
            fs::write(format!("{MULTUS}/results/{name}"), text.to_string()).expect("a file");
        }
    });
    let target = target(&sandbox, &pod);
    plexus.runtime.check(&target).expect_silence();
    assert_eq!(
        plexus.calls(),
        [format!("CHECK {MAIN} eth0"), "CHECK lan net1".to_owned()]
    );
    assert!(
        node.run(|| fs::exists(format!("{MULTUS}/{id}")).is_ok_and(|there| there)),
        "CHECK changes nothing"
    );
    assert!(plexus.records().is_empty());

    // A DEL that fails is tried again, from the ledger.
    node.forget_calls();
    node.plugin("lan", &Script::new().fails("DEL", 120, "not now"));
    plexus.runtime.del(&target).expect_code(120);
    assert_eq!(
        plexus.calls(),
        ["DEL lan net1".to_owned(), format!("DEL {MAIN} eth0")]
    );
    assert!(
        node.run(|| fs::read_dir(MULTUS).is_ok_and(|files| files.count() == 1)),
        "results/ is left"
    );
    assert_eq!(plexus.records().len(), 1);
    node.plugin("lan", &Script::new().on("DEL", Vec::<Step>::new()));
    plexus.runtime.del(&target).expect_silence();
    plexus.runtime.del(&target.without_netns()).expect_silence();
    let calls = node.calls();
    let summaries: Vec<_> = calls.iter().map(Call::summary).collect();
    assert_eq!(
        summaries,
        [
            "DEL lan net1".to_owned(),
            format!("DEL {MAIN} eth0"),
            "DEL lan net1".to_owned()
        ]
    );
    let config = calls[1].config();
    assert_eq!(config["own"], json!({"a": 1}));
    assert_eq!(config["prevResult"]["ips"][0]["address"], "10.1.0.2/24");
    assert_eq!(
        calls[2].env("CNI_ARGS"),
        "IgnoreUnknown=true;K8S_POD_NAME=web"
    );
    assert!(plexus.records().is_empty());
}

#[test]
fn files_of_multus_that_cannot_be_removed_cost_a_second_del_and_are_told_of() {
    rows!("R-088");
    let node = node!();
    let plexus = Plexus::start(&node);
    let sandbox = node.sandbox("web");
    let target = target(&sandbox, &Pod::new("web"));
    let list = format!("{MULTUS}/{}", sandbox.id());
    let result = format!("{MULTUS}/results/pods-{}-eth0", sandbox.id());
    let there = |path: &str| node.run(|| fs::exists(path).expect("it can be told"));
    // A file that something is mounted on cannot be removed.
    node.run(|| {
        remember(sandbox.id());
        for path in [&list, &result] {
            mount(
                Some(path.as_str()),
                path.as_str(),
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )
            .expect("a mount");
        }
    });
    for times in 1..=2 {
        plexus.runtime.del(&target).expect_silence();
        assert_eq!(plexus.calls(), vec![format!("DEL {MAIN} eth0"); times]);
        assert!(plexus.records().is_empty() && there(&list) && there(&result));
    }
    let log = plexus.daemon.log();
    for path in [&list, &result] {
        let told = log
            .lines()
            .any(|line| line.contains(path.as_str()) && line.contains("remove it by hand"));
        assert!(told, "{path}: {log}");
    }
    // One that stays does not keep the others.
    node.run(|| umount(list.as_str()).expect("it is mounted"));
    plexus.runtime.del(&target).expect_silence();
    assert!(!there(&list) && there(&result));
    plexus.runtime.del(&target).expect_silence();
    assert_eq!(plexus.calls().len(), 3, "nothing is taken over any more");
}
