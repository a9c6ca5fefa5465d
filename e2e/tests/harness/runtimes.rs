//! Runtimes call plugins as containerd and CRI-O do.

use plexus_e2e::plexus::{NET_D, PUBLISHED};
use plexus_e2e::{Flavour, Node, Pod, Runtime, Script, node};
use serde_json::json;

use crate::scripted;

#[test]
fn capability_arguments_are_passed_only_for_declared_capabilities() {
    let node = node!();
    node.plugin("fake", &Script::new());
    let capabilities = json!({"io.kubernetes.cri.pod-annotations": true, "mac": false});
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "fake", "capabilities": capabilities,
    });
    let fake = node.bin_dir().join("fake");
    let runtime = Runtime::new(&node, Flavour::Containerd, fake, config);
    let pod = Pod::new("p").annotated("a", "b");
    let target = node
        .sandbox("pod")
        .target(&pod)
        .with_capability("mac", json!("02:00:00:00:00:01"));
    runtime.add(&target).result();
    let config = node.calls()[0].config();
    assert_eq!(
        config["runtimeConfig"],
        json!({"io.kubernetes.cri.pod-annotations": {"a": "b"}})
    );
    // libcni does not remove the key.
    assert_eq!(config["capabilities"], capabilities);
}

#[test]
fn status_gc_and_version_have_no_container() {
    let node = node!();
    let script = Script::new().fails("STATUS", 50, "not yet");
    let runtime = scripted(&node, Flavour::Containerd, &script);
    assert_eq!(runtime.status().expect_code(50), "not yet");
    runtime.gc(&[("id", "eth0")]).expect_success();
    assert_eq!(runtime.version().result()["supportedVersions"][6], "1.1.0");
    let calls = node.calls();
    assert_eq!(calls[0].env("CNI_CONTAINERID"), "");
    let valid = json!([{"containerID": "id", "ifname": "eth0"}]);
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        assert_eq!(calls[1].config()[key], valid, "{key}");
    }
}

#[test]
fn containerd_and_crio_stop_pods_in_different_ways() {
    let node = node!();
    let started = ["ADD @", "DEL @", "DEL"];
    let failed = ["ADD @", "DEL @"];
    assert_calls(&node, Flavour::Containerd, "containerd", &started, &failed);
    let started = ["ADD @", "CHECK @", "DEL @"];
    assert_calls(&node, Flavour::Crio, "crio", &started, &failed);
}

#[test]
fn crio_loads_its_configuration_at_its_start_and_deletes_with_the_cached_one() {
    let node = node!();
    let mut runtime = scripted(&node, Flavour::Crio, &Script::new().fails("DEL", 100, "no"));
    let pods = ["running", "failed"].map(Pod::new);
    let sandboxes = ["running", "failed"].map(|name| node.sandbox(name));
    for (pod, sandbox) in pods.iter().zip(&sandboxes) {
        runtime.run_pod(sandbox, pod).result();
    }
    runtime.stop_pod(&sandboxes[1], &pods[1]).expect_code(100);
    node.forget_calls();
    node.plugin("fake", &Script::new());
    let list = json!({
        "cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"], "name": "net",
        "plugins": [{"type": "fake", "new": true}],
    });
    node.run(|| std::fs::create_dir_all(NET_D))
        .expect("create the directory");
    node.write(PUBLISHED, list.to_string());
    runtime.restart();
    runtime.stop_pod(&sandboxes[0], &pods[0]).expect_success();
    let calls = node.calls();
    let operations: Vec<_> = calls.iter().map(|call| &*call.operation).collect();
    assert_eq!(operations, ["VERSION", "DEL", "GC", "DEL"]);
    let valid = json!([{"containerID": sandboxes[0].id(), "ifname": "eth0"}]);
    assert_eq!(calls[2].config()["cni.dev/valid-attachments"], valid);
    for (call, version, is_new) in [
        (&calls[1], "1.0.0", None),
        (&calls[2], "1.1.0", Some(&json!(true))),
        (&calls[3], "1.0.0", None),
    ] {
        let config = call.config();
        assert_eq!(
            (&config["cniVersion"], config.get("new")),
            (&json!(version), is_new)
        );
    }
}

/// Asserts the calls for a pod that starts and stops, and for one that does not start. `@` is the
/// path of the network namespace.
fn assert_calls(node: &Node, flavour: Flavour, name: &str, started: &[&str], failed: &[&str]) {
    let path = format!("/run/netns/{name}");
    let pod = Pod::new(name);
    let runtime = scripted(node, flavour, &Script::new());
    let sandbox = node.sandbox(name);
    runtime.run_pod(&sandbox, &pod).result();
    runtime.stop_pod(&sandbox, &pod).expect_success();
    assert!(!node.exists(&path));
    assert_eq!(take_calls(node, &path), started, "{name}");

    let script = Script::new()
        .fails("ADD", 100, "no")
        .fails("DEL", 100, "no");
    let runtime = scripted(node, flavour, &script);
    let sandbox = node.sandbox(name);
    runtime.run_pod(&sandbox, &pod).expect_code(100);
    assert!(!node.exists(&path));
    assert_eq!(take_calls(node, &path), failed, "{name}");

    let sandbox = node.sandbox(name);
    runtime.stop_pod(&sandbox, &pod).expect_code(100);
    assert_eq!(node.exists(&path), flavour == Flavour::Containerd);
    assert_eq!(take_calls(node, &path), ["DEL @"], "{name}");
}

/// The calls since the last time as `OPERATION netns`.
fn take_calls(node: &Node, path: &str) -> Vec<String> {
    let calls = node.calls();
    node.forget_calls();
    let summary = |call: &plexus_e2e::PluginCall| {
        let netns = call.env("CNI_NETNS").replace(path, "@");
        format!("{} {netns}", call.operation).trim_end().to_owned()
    };
    calls.iter().map(summary).collect()
}
