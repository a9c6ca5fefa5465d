use std::fs;

use base64::Engine as _;
use plexus_api::cni::CniArgs;
use plexus_api::rows;
use serde_json::json;

use super::*;

fn encoded(value: &serde_json::Value) -> String {
    STANDARD.encode(value.to_string())
}

#[test]
fn the_caches_of_all_versions_of_multus_are_read() {
    rows!("R-088");
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("results")).expect("a directory");
    let main = json!({"cniVersion": "0.3.1", "name": "cbr0", "plugins": [{"type": "flannel", "delegate": {"a": 1}}]});
    let incomplete =
        json!({"cniVersion": "0.3.1", "name": "cbr0", "plugins": [{"type": "flannel"}]});
    let mv = json!({"cniVersion": "1.0.0", "name": "mv", "type": "macvlan"});
    let delegates = json!([
        // Versions 4.2.1 to 4.3.0 write a complete and an incomplete configuration.
        {"Name": "cbr0", "Bytes": encoded(&incomplete), "CNINetworkConfigList": {"Bytes": encoded(&main)}},
        {"Name": "ns1/mv", "Bytes": encoded(&mv), "deviceID": "x", "CNINetworkConfigList": {"Bytes": null}},
        {"Name": "ns1/mv", "Bytes": encoded(&mv), "ifnameRequest": "foo0"},
        {"Name": "broken", "Bytes": "%"},
    ]);
    fs::write(dir.path().join("cid1"), delegates.to_string()).expect("a file");
    let executed = json!({
        "cniVersion": "1.0.0", "name": "mv", "type": "macvlan", "deviceID": "x", "capabilities": {"mac": true},
    });
    let cached = json!({
        "kind": "cniCacheV1", "netns": "/run/netns/a", "config": encoded(&executed),
        "cniArgs": [["IgnoreUnknown", "true"], ["MAC", "02:00:00:00:00:01"]],
        "capabilityArgs": {"mac": "m", "io.kubernetes.cri.pod-annotations": {"note": "secret"}},
        "result": {"cniVersion": "1.0.0", "ips": []},
    });
    fs::write(dir.path().join("results/mv-cid1-net1"), cached.to_string()).expect("a file");

    let args = CniArgs::parse("K8S_POD_NAME=p").expect("args");
    let sandbox = read_sandbox(dir.path(), "cid1", "eth0", &args).expect("a cache");
    let names: Vec<_> = sandbox
        .attachments
        .iter()
        .map(|(a, _)| (a.network.as_str(), a.ifname.as_str()))
        .collect();
    assert_eq!(
        names,
        [("cbr0", "eth0"), ("ns1/mv", "net1"), ("ns1/mv", "foo0")]
    );
    assert_eq!(sandbox.netns, "/run/netns/a");
    let (default, none) = &sandbox.attachments[0];
    assert!(default.default && none.is_none());
    assert!(
        default.config.plugins[0].raw("delegate").is_some(),
        "the complete configuration"
    );
    assert_eq!(default.cni_args, "K8S_POD_NAME=p");
    let (added, result) = &sandbox.attachments[1];
    assert_eq!(added.cni_args, "IgnoreUnknown=true;MAC=02:00:00:00:00:01");
    assert_eq!(added.capability_args["mac"].get(), "\"m\"");
    assert_eq!(
        added.capability_args.len(),
        1,
        "only what a plugin declares"
    );
    assert_eq!(
        added.config.plugins[0].get::<String>("deviceID").as_deref(),
        Some("x")
    );
    let device_info = |index: usize| sandbox.attachments[index].0.device_info_file.as_deref();
    let file = "/var/run/k8s.cni.cncf.io/devinfo/cni/ns1-mv-cid1_net1";
    assert_eq!(device_info(1), Some(Path::new(file)));
    assert_eq!([device_info(0), device_info(2)], [None, None]);
    assert!(
        result
            .as_ref()
            .is_some_and(|result| result.get().contains("1.0.0"))
    );
    assert_eq!(
        sandbox.files,
        [
            dir.path().join("results/mv-cid1-net1"),
            dir.path().join("cid1")
        ]
    );
}

#[test]
fn an_unreadable_cache_is_ignored() {
    rows!("R-088");
    let dir = tempfile::tempdir().expect("a directory");
    let args = CniArgs::default();
    assert!(read_sandbox(dir.path(), "cid1", "eth0", &args).is_none());
    for text in ["", "{", "[]", "[{}]", r#"[{"Bytes": 5}]"#] {
        fs::write(dir.path().join("cid1"), text).expect("a file");
        assert!(
            read_sandbox(dir.path(), "cid1", "eth0", &args).is_none(),
            "{text}"
        );
    }
    fs::remove_file(dir.path().join("cid1")).expect("remove");
    fs::create_dir(dir.path().join("cid1")).expect("a directory");
    assert!(read_sandbox(dir.path(), "cid1", "eth0", &args).is_none());
}
