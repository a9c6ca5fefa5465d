//! Pods that Multus attached before Plexus was installed.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::mount::{MsFlags, mount, umount};
use plexus_api::rows;
use plexus_e2e::plexus::MAIN;
use plexus_e2e::{Plexus, PluginCall, Pod, Script, Step, attaches, node};
use serde_json::{Value, json};

const MULTUS: &str = "/var/lib/cni/multus";

/// Writes the files of Multus for a pod with only its default network.
fn write_cache(id: &str) {
    let main = json!({"cniVersion": "1.0.0", "name": "pods", "type": MAIN});
    let cached = json!({"kind": "cniCacheV1", "containerId": id, "config": encoded(&main)});
    fs::create_dir_all(format!("{MULTUS}/results")).expect("create the directory");
    fs::write(
        format!("{MULTUS}/{id}"),
        json!([{"Name": "pods", "Bytes": encoded(&main)}]).to_string(),
    )
    .expect("write a file");
    fs::write(
        format!("{MULTUS}/results/pods-{id}-eth0"),
        cached.to_string(),
    )
    .expect("write a file");
}

fn encoded(value: &Value) -> String {
    STANDARD.encode(value.to_string())
}

#[test]
fn a_pod_of_multus_is_checked_and_deleted_with_the_configuration_and_result_of_its_add() {
    rows!("R-088");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"checkPlugins": "all"}));
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
    let delegates = json!([{"Name": "pods", "Bytes": encoded(&main)}, {"Name": "default/lan", "Bytes": encoded(&lan), "deviceID": "0000:18:02.5"}]);
    let device_info = format!("/run/k8s.cni.cncf.io/devinfo/cni/default-lan-{id}_net1");
    node.run(|| {
        fs::create_dir_all(format!("{MULTUS}/results")).expect("create the directory");
        fs::write(format!("{MULTUS}/{id}"), delegates.to_string()).expect("write a file");
        fs::create_dir_all("/run/k8s.cni.cncf.io/devinfo/cni").expect("create the directory");
        fs::write(&device_info, "{}").expect("write a file");
        for (name, text) in [
            (format!("pods-{id}-eth0"), cached(&main, "10.1.0.2/24")),
            (format!("lan-{id}-net1"), cached(&lan, "10.2.0.2/24")),
        ] {
            fs::write(format!("{MULTUS}/results/{name}"), text.to_string()).expect("write a file");
        }
    });
    let target = sandbox.target(&pod);
    plexus.runtime.check(&target).expect_success();
    assert_eq!(
        plexus.calls(),
        [format!("CHECK {MAIN} eth0"), "CHECK lan net1".to_owned()]
    );
    assert!(
        node.run(|| fs::exists(format!("{MULTUS}/{id}")).is_ok_and(|exists| exists)),
        "CHECK changes nothing"
    );
    assert!(plexus.records().is_empty() && node.exists(&device_info));

    // A failed DEL is retried with a record in the ledger.
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
    assert!(!node.exists(&device_info));
    node.plugin("lan", &Script::new().on("DEL", Vec::<Step>::new()));
    plexus.runtime.del(&target).expect_success();
    plexus.runtime.del(&target.without_netns()).expect_success();
    let calls = node.calls();
    let summaries: Vec<_> = calls.iter().map(PluginCall::summary).collect();
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
fn files_of_multus_that_cannot_be_removed_are_logged_and_cause_another_del() {
    rows!("R-088");
    let node = node!();
    let plexus = Plexus::start(&node);
    let sandbox = node.sandbox("web");
    let target = sandbox.target(&Pod::new("web"));
    let list = format!("{MULTUS}/{}", sandbox.id());
    let result = format!("{MULTUS}/results/pods-{}-eth0", sandbox.id());
    let exists = |path: &str| node.run(|| fs::exists(path).expect("look for a file"));
    // A mount point cannot be removed.
    node.run(|| {
        write_cache(sandbox.id());
        for path in [&list, &result] {
            mount(
                Some(path.as_str()),
                path.as_str(),
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )
            .expect("mount the file");
        }
    });
    for times in 1..=2 {
        plexus.runtime.del(&target).expect_success();
        assert_eq!(plexus.calls(), vec![format!("DEL {MAIN} eth0"); times]);
        assert!(plexus.records().is_empty() && exists(&list) && exists(&result));
    }
    let log = plexus.daemon.log();
    for path in [&list, &result] {
        let is_logged = log
            .lines()
            .any(|line| line.contains(path.as_str()) && line.contains("remove it by hand"));
        assert!(is_logged, "{path}: {log}");
    }
    // A file that cannot be removed does not prevent the removal of the other.
    node.run(|| umount(list.as_str()).expect("unmount the file"));
    plexus.runtime.del(&target).expect_success();
    assert!(!exists(&list) && exists(&result));
    plexus.runtime.del(&target).expect_success();
    assert_eq!(
        plexus.calls().len(),
        3,
        "without the list nothing is deleted"
    );
}
