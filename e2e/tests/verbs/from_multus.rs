//! Pods that Multus attached before Plexus took its place on the node.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plexus_api::rows;
use plexus_e2e::{Call, Pod, Script, Step, node};
use serde_json::{Value, json};

use crate::plexus::{MAIN, Plexus, attaches, target};

const MULTUS: &str = "/var/lib/cni/multus";

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
    assert_eq!(plexus.calls(), [format!("CHECK {MAIN} eth0"), "CHECK lan net1".to_owned()]);
    assert!(node.run(|| fs::exists(format!("{MULTUS}/{id}")).is_ok_and(|there| there)), "CHECK changes nothing");
    assert!(plexus.records().is_empty());

    // A DEL that fails is tried again, from the ledger.
    node.forget_calls();
    node.plugin("lan", &Script::new().fails("DEL", 120, "not now"));
    plexus.runtime.del(&target).expect_code(120);
    assert_eq!(plexus.calls(), ["DEL lan net1".to_owned(), format!("DEL {MAIN} eth0")]);
    assert!(node.run(|| fs::read_dir(MULTUS).is_ok_and(|files| files.count() == 1)), "results/ is left");
    assert_eq!(plexus.records().len(), 1);
    node.plugin("lan", &Script::new().on("DEL", Vec::<Step>::new()));
    plexus.runtime.del(&target).expect_silence();
    plexus.runtime.del(&target.without_netns()).expect_silence();
    let calls = node.calls();
    let summaries: Vec<_> = calls.iter().map(Call::summary).collect();
    assert_eq!(summaries, ["DEL lan net1".to_owned(), format!("DEL {MAIN} eth0"), "DEL lan net1".to_owned()]);
    let config = calls[1].config();
    assert_eq!(config["own"], json!({"a": 1}));
    assert_eq!(config["prevResult"]["ips"][0]["address"], "10.1.0.2/24");
    assert_eq!(calls[2].env("CNI_ARGS"), "IgnoreUnknown=true;K8S_POD_NAME=web");
    assert!(plexus.records().is_empty());
}
