//! The default network: where it is configured, and how a pod replaces it.

use plexus_api::rows;
use plexus_e2e::{Plexus, Pod, Script, Step, attaches, node};
use serde_json::json;

use crate::definitions::list;

#[test]
fn the_default_network_is_a_definition_a_network_on_disk_a_file_or_a_directory() {
    rows!("K-061", "K-071");
    let node = node!();
    let net_d = node.scratch().join("net.d");
    node.write_json("net.d/50-disk.conflist", &list(&node, "disk", "disk"));
    node.write_json("net.d/60-both.conflist", &list(&node, "both", "disk"));
    // The first valid file of a directory is used, except those of Plexus and Multus.
    let plexus_list = json!({"name": "plexus", "plugins": [{"type": "plexus"}]});
    let multus = json!({"name": "multus", "type": "multus-shim"});
    node.write_json("first.d/00-plexus.conflist", &plexus_list);
    node.write_json("first.d/05-multus.conf", &multus);
    node.write_json("first.d/10-broken.conflist", &json!("broken"));
    let file = list(&node, "file", "file");
    let file = node.write_json("first.d/20-file.conflist", &file);
    node.write_json("ours.d/00-plexus.conflist", &plexus_list);
    let path = |name: &str| node.scratch().join(name).to_string_lossy().into_owned();
    let mut plexus = Plexus::start_with(&node, json!({"confDir": net_d}));
    node.plugin("defined", &attaches());
    let config = json!({"cniVersion": "1.0.0", "type": "defined"}).to_string();
    for name in ["defined", "both"] {
        let manifests = &plexus.manifests;
        manifests.definition_in("kube-system", name, Some(&config));
    }
    for (number, (source, expected)) in [
        (
            "defined".to_owned(),
            Some(("defined", "kube-system/defined")),
        ),
        ("disk".to_owned(), Some(("disk", "disk"))),
        ("both".to_owned(), Some(("defined", "kube-system/both"))),
        (path("first.d"), Some(("file", "file"))),
        (file.to_string_lossy().into(), Some(("file", "file"))),
        ("nowhere".to_owned(), None),
        (path("ours.d"), None),
        (path("none.d"), None),
    ]
    .into_iter()
    .enumerate()
    {
        let config = json!({"confDir": net_d, "clusterNetwork": source, "primaryGrace": "0s"});
        plexus.daemon.configure(&config);
        plexus.daemon.stop();
        plexus.daemon.launch();
        if expected.is_none() && source.contains('/') {
            plexus
                .daemon
                .wait_not_ready("no default network: clusterNetwork");
        } else {
            plexus.daemon.wait_ready();
        }
        node.forget_calls();
        let pod = Pod::new(&format!("p{number}"));
        let output = plexus.runtime.add(&plexus.target(&pod));
        let Some((plugin, name)) = expected else {
            output.expect_error(11, &["no default network: clusterNetwork"]);
            continue;
        };
        output.result();
        assert_eq!(plexus.calls(), [format!("ADD {plugin} eth0")], "{source}");
        let status = plexus.network_status(&pod).expect("network-status");
        assert_eq!(status[0]["name"], name, "{source}");
    }
}

#[test]
fn delegates_and_default_networks_are_attached_to_every_pod() {
    rows!("K-060", "K-066", "K-068");
    let node = node!();
    node.plugin("second", &attaches());
    let second = json!({"cniVersion": "1.0.0", "name": "second", "type": "second"});
    let keys = json!({
        "clusterNetwork": null,
        "delegates": [list(&node, "first", "first"), second],
        "defaultNetworks": ["all"],
    });
    let plexus = Plexus::start_with(&node, keys);
    plexus.network("a", &attaches());
    node.plugin("all", &attaches());
    let config = json!({"cniVersion": "1.0.0", "type": "all"}).to_string();
    let manifests = &plexus.manifests;
    manifests.definition_in("kube-system", "all", Some(&config));
    let pod = Pod::new("p").with_networks("a");
    plexus.runtime.add(&plexus.target(&pod)).result();
    assert_eq!(
        plexus.calls(),
        [
            "ADD first eth0",
            "ADD second net1",
            "ADD all net2",
            "ADD a net3"
        ]
    );
    let status = plexus.network_status(&pod).expect("network-status");
    let entries = status.as_array().expect("a list").iter();
    let names: Vec<_> = entries.map(|entry| entry["name"].clone()).collect();
    assert_eq!(names, ["first", "second", "kube-system/all", "default/a"]);
    // Pods of kube-system do not get `defaultNetworks`.
    node.forget_calls();
    let system = Pod::new("p")
        .in_namespace("kube-system")
        .with_networks("default/a");
    let target = node.sandbox("system").target(&system);
    plexus.runtime.add(&target).result();
    assert_eq!(
        plexus.calls(),
        ["ADD first eth0", "ADD second net1", "ADD a net2"]
    );
}

#[test]
fn the_error_for_a_missing_default_network_says_where_the_name_was_looked_up() {
    const KEY: &str = "v1.multus-cni.io/default-network";
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"lookupWait": "20ms"}));
    for (name, annotation, explained) in [("a", "lan", true), ("b", "default/lan", false)] {
        let pod = Pod::new(name).annotated(KEY, annotation);
        let output = plexus.runtime.add(&plexus.target(&pod));
        let msg = output.expect_code(104);
        assert_eq!(msg.contains("multusNamespace"), explained, "{msg}");
        assert_eq!(msg.contains("\"kube-system\""), explained, "{msg}");
    }
}

#[test]
fn a_pod_may_replace_its_default_network() {
    rows!("K-062", "K-063");
    const KEY: &str = "v1.multus-cni.io/default-network";
    let node = node!();
    let plexus = Plexus::start(&node);
    for (namespace, plugin) in [("kube-system", "system"), ("ns", "other")] {
        node.plugin(plugin, &attaches());
        let config = json!({
            "cniVersion": "1.0.0", "type": plugin, "capabilities": {"mac": true},
        });
        let manifests = &plexus.manifests;
        manifests.definition_in(namespace, "calico", Some(&config.to_string()));
    }
    for (number, (annotation, expected)) in [
        ("calico", Some("system")),
        ("ns/calico", Some("other")),
        (r#"[{"name": "calico"}]"#, Some("system")),
        (
            r#"[{"name": "calico", "interface": "x0", "mac": "02:00:00:00:00:01"}]"#,
            Some("system"),
        ),
        ("calico,ns/calico", None),
        ("", None),
    ]
    .into_iter()
    .enumerate()
    {
        node.forget_calls();
        let pod = Pod::new(&format!("p{number}")).annotated(KEY, annotation);
        let output = plexus.runtime.add(&plexus.target(&pod));
        let Some(plugin) = expected else {
            output.expect_error(105, &[KEY]);
            continue;
        };
        output.result();
        assert_eq!(
            plexus.calls(),
            [format!("ADD {plugin} eth0")],
            "{annotation}"
        );
        let status = plexus.network_status(&pod).expect("network-status");
        assert_eq!(
            (&status[0]["default"], status.as_array().map(Vec::len)),
            (&json!(true), Some(1))
        );
        if annotation.contains("mac") {
            assert_eq!(
                node.calls()[0].config()["runtimeConfig"],
                json!({"mac": "02:00:00:00:00:01"})
            );
        }
    }
}

#[test]
fn a_pod_that_replaces_its_default_network_keeps_the_other_delegates() {
    rows!("K-062");
    let node = node!();
    let delegate = |name: &str| {
        node.plugin(name, &attaches());
        json!({"cniVersion": "1.0.0", "name": name, "type": name})
    };
    let delegates = [delegate("first"), delegate("second"), delegate("third")];
    let keys = json!({"clusterNetwork": null, "delegates": delegates});
    let plexus = Plexus::start_with(&node, keys);
    let own = delegate("own");
    plexus
        .manifests
        .definition_in("kube-system", "own", Some(&own.to_string()));
    let pod = Pod::new("p").annotated("v1.multus-cni.io/default-network", "own");
    let target = plexus.target(&pod);
    // A DEL without a record is for the same networks as ADD.
    plexus.runtime.del(&target).expect_success();
    assert_eq!(
        plexus.calls(),
        ["DEL third net2", "DEL second net1", "DEL own eth0"]
    );
    node.forget_calls();
    plexus.runtime.add(&target).result();
    assert_eq!(
        plexus.calls(),
        ["ADD own eth0", "ADD second net1", "ADD third net2"]
    );
}

#[test]
fn keys_on_stdin_are_used_if_the_file_does_not_have_them() {
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"clusterNetwork": null}));
    let (_, target) = plexus.sandbox("p", "");
    let output = plexus.runtime.add(&target);
    output.expect_error(7, &["clusterNetwork"]);
    let runtime = plexus.runtime_with(json!({"delegates": [list(&node, "own", "own")]}));
    runtime.add(&target).result();
    assert_eq!(plexus.calls(), ["ADD own eth0"]);
}

#[test]
fn keys_of_the_file_override_keys_on_stdin() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let keys = json!({"clusterNetwork": "nowhere", "ClusterNetwork": "nowhere"});
    let runtime = plexus.runtime_with(keys);
    runtime.add(&plexus.target(&Pod::new("p"))).result();
    assert_eq!(plexus.calls(), ["ADD main eth0"]);
}

#[test]
fn results_that_containerd_refuses_or_hides_are_reported() {
    rows!("C-07", "C-08");
    let node = node!();
    let plexus = Plexus::start(&node);
    let ours = json!({"name": "eth0", "sandbox": "$NETNS"});
    let on_node = json!({"name": "eth0"});
    let (both, ours) = (json!([ours, on_node]), json!([ours]));
    let address = |interface| json!([{"address": "10.1.0.2/16", "interface": interface}]);
    let (refuses, keeps) = (
        "containerd does not start the pod",
        "containerd keeps only one",
    );
    for (name, interfaces, ips, expected) in [
        ("usual", &ours, address(0), &[][..]),
        ("anywhere", &ours, json!([{"address": "10.1.0.2/16"}]), &[]),
        ("none", &ours, json!([]), &[refuses]),
        ("namesake", &both, address(0), &[keeps]),
    ] {
        let result = json!({"cniVersion": "1.0.0", "interfaces": interfaces, "ips": ips});
        node.plugin("main", &Script::new().on("ADD", [Step::Result(result)]));
        plexus.runtime.add(&plexus.target(&Pod::new(name))).result();
        let log = plexus.daemon.log();
        let reported = |text: &str| {
            let pod = format!("default/{name}");
            log.lines()
                .any(|line| line.contains(text) && line.contains(&pod))
        };
        for text in [refuses, keeps] {
            assert_eq!(
                reported(text),
                expected.contains(&text),
                "{name}: {text}: {log}"
            );
        }
    }
}
