//! Device information: from the device plugin's file to the plugins and to network-status.

mod read_only;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use plexus_api::rows;
use plexus_e2e::{CniTarget, Node, NodeWatch, Plexus, Pod, Sandbox, Script, Step, attaches, node};
use serde_json::{Value, json};

const DEVICE_PLUGIN_DIR: &str = "/var/run/k8s.cni.cncf.io/devinfo/dp";
const DIR: &str = "/var/run/k8s.cni.cncf.io/devinfo/cni";
const RESOURCE: &str = "intel.com/sriov_vf";
const DEVICE: &str = "0000:18:02.5";
/// The file of [`DEVICE`].
const DEVICE_FILE: &str =
    "/var/run/k8s.cni.cncf.io/devinfo/dp/intel.com-sriov_vf-0000:18:02.5-device.json";

/// A document with a newer version and a key that Plexus does not know.
fn document() -> Value {
    json!({
        "type": "pci", "version": "1.2.0",
        "pci": {"pci-address": DEVICE, "rdma-device": "mlx5_5"},
        "vendor": {"big": 9_007_199_254_740_993_u64},
    })
}

fn write_device_file(node: &Node, content: &str) {
    node.run(|| fs::create_dir_all(DEVICE_PLUGIN_DIR))
        .expect("create the directory");
    node.write(DEVICE_FILE, content);
}

/// Writes the definition `name`, whose only plugin declares `CNIDeviceInfoFile`.
fn network(plexus: &Plexus<'_>, name: &str, script: &Script) {
    plexus.node.plugin(name, script);
    plexus.manifests.definition(name, &declaring(name));
}

fn declaring(plugin: &str) -> Value {
    json!({"cniVersion": "1.0.0", "type": plugin, "capabilities": {"CNIDeviceInfoFile": true}})
}

/// The same for a definition of [`RESOURCE`].
fn device_network(plexus: &Plexus<'_>, name: &str, script: &Script) {
    plexus.node.plugin(name, script);
    plexus
        .manifests
        .device_definition(name, RESOURCE, &declaring(name));
}

/// A pod that selects this network with [`DEVICE`].
fn device_pod(network: &str) -> Pod {
    let element = json!([{"name": network, "deviceID": DEVICE}]);
    Pod::new("p").with_networks(element.to_string())
}

/// The path of the file of the interface `net1`.
fn file(target: &CniTarget, network: &str) -> String {
    format!("{DIR}/default-{network}-{}_net1", target.container)
}

/// The device information of `net1` in network-status.
#[track_caller]
fn published(plexus: &Plexus<'_>, pod: &Pod) -> Option<Value> {
    let status = plexus.network_status(pod).expect("network-status");
    let entries = status.as_array().expect("a list");
    let entry = entries.iter().find(|entry| entry["interface"] == "net1");
    entry.expect("net1").get("device-info").cloned()
}

fn attach<'n>(plexus: &Plexus<'n>, pod: &Pod) -> (Sandbox<'n>, CniTarget) {
    let sandbox = plexus.node.sandbox(&pod.name);
    let target = sandbox.target(pod);
    plexus.runtime.add(&target).result();
    (sandbox, target)
}

#[test]
fn the_document_of_a_device_reaches_the_plugins_and_network_status() {
    rows!(
        "D-001", "D-003", "D-004", "D-007", "D-008", "D-009", "D-016"
    );
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"checkPlugins": "all"}));
    write_device_file(&node, &document().to_string());
    plexus.networks(&["first", "plain"]);
    node.plugin("second", &Script::new());
    let chain = json!({
        "cniVersion": "1.0.0", "plugins": [{"type": "first"}, declaring("second")],
    });
    plexus
        .manifests
        .device_definition("sriov", RESOURCE, &chain);
    let networks = json!([{"name": "sriov", "deviceID": DEVICE}, {"name": "plain"}]);
    let pod = Pod::new("p").with_networks(networks.to_string());
    let (sandbox, target) = attach(&plexus, &pod);

    let adds = plexus.calls_of("ADD");
    let seen: Vec<_> = adds
        .iter()
        .map(|call| {
            let path = &call.config()["runtimeConfig"]["CNIDeviceInfoFile"];
            (call.plugin.clone(), path.as_str().map(str::to_owned))
        })
        .collect();
    let path = file(&target, "sriov");
    let expected = [
        ("main", None),
        ("first", None),
        ("second", Some(path.clone())),
        ("plain", None),
    ];
    assert_eq!(
        seen,
        expected.map(|(plugin, path)| (plugin.to_owned(), path))
    );
    let text = adds[2].device_info.as_deref().expect("the file");
    assert_eq!(
        serde_json::from_str::<Value>(text).expect("JSON"),
        document()
    );
    assert_eq!(published(&plexus, &pod), Some(document()));
    let status = plexus.network_status(&pod).expect("network-status");
    assert!(status[2].get("device-info").is_none(), "{status}");
    // Programs in pods and other users of the node may read the file.
    let mode = |path: &str| {
        let metadata = node.run(|| fs::metadata(path)).expect("metadata");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!((mode(DIR), mode(&path)), (0o755, 0o644));
    assert_eq!(node.list(DIR).len(), 1, "only the network with a resource");

    plexus.runtime.check(&target).expect_success();
    assert!(node.exists(&path));
    plexus.runtime.del(&target).expect_success();
    for operation in ["CHECK", "DEL"] {
        let calls = plexus.calls_of(operation);
        let second = calls.iter().find(|call| call.plugin == "second");
        let second = second.expect("a call of the plugin");
        assert_eq!(second.config()["runtimeConfig"]["CNIDeviceInfoFile"], path);
        assert!(second.device_info.is_some(), "{operation}");
    }
    assert_eq!(node.list(DIR), [""; 0]);
    assert!(node.exists(DEVICE_FILE));
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn plugins_publish_devices_that_they_make_or_change() {
    rows!("D-006", "D-008", "D-010");
    let node = node!();
    let plexus = Plexus::start(&node);
    write_device_file(&node, &document().to_string());
    let made = json!({
        "type": "vhost-user", "version": "1.1.0",
        "vhost-user": {"mode": "client", "path": "/var/run/vhost.sock"},
    });
    let writes = Script::new().on("ADD", [Step::WriteDeviceInfo(made.to_string())]);
    network(&plexus, "made", &writes);
    network(&plexus, "none", &attaches());
    device_network(&plexus, "changed", &writes);
    for (pod, network, before, expected) in [
        (
            Pod::new("made").with_networks("made"),
            "made",
            None,
            Some(&made),
        ),
        (Pod::new("none").with_networks("none"), "none", None, None),
        (
            device_pod("changed"),
            "changed",
            Some(document()),
            Some(&made),
        ),
    ] {
        let (_, target) = attach(&plexus, &pod);
        let calls = node.calls_for(&target.container);
        let path = &calls[1].config()["runtimeConfig"]["CNIDeviceInfoFile"];
        assert_eq!(*path, file(&target, network));
        let seen = calls[1].device_info.as_deref();
        let seen: Option<Value> = seen.map(|text| serde_json::from_str(text).expect("JSON"));
        assert_eq!(seen, before, "{network}");
        assert_eq!(published(&plexus, &pod).as_ref(), expected, "{network}");
        plexus.runtime.del(&target).expect_success();
    }
    assert_eq!(node.list(DIR), [""; 0]);
    assert_eq!(node.read(DEVICE_FILE), document().to_string());
}

#[test]
fn device_information_that_cannot_be_used_is_left_out_with_a_warning() {
    rows!("D-005", "D-011", "D-017");
    let node = node!();
    let plexus = Plexus::start(&node);
    let secret = document().to_string();
    node.write(node.scratch().join("secret"), &secret);
    let link = |path: &str| {
        let _ = node.run(|| fs::remove_file(path));
        node.run(|| symlink(node.scratch().join("secret"), path))
            .expect("make a link");
    };
    let large = format!("{secret}{}", " ".repeat(1 << 20));
    // The document of the device plugin.
    device_network(&plexus, "device", &attaches());
    let pod = device_pod("device");
    let target = node.sandbox("p").target(&pod);
    for (number, content) in ["", "{", &large].into_iter().enumerate() {
        write_device_file(&node, content);
        if content.is_empty() {
            link(DEVICE_FILE);
        }
        node.forget_calls();
        plexus.runtime.add(&target).result();
        assert_eq!(node.calls()[1].device_info, None, "{number}");
        assert_eq!(published(&plexus, &pod), None, "{number}");
        let warnings = plexus.daemon.log().matches("DeviceInfoInvalid").count();
        assert_eq!(warnings, number + 1, "{}", plexus.daemon.log());
        plexus.runtime.del(&target).expect_success();
        let _ = node.run(|| fs::remove_file(DEVICE_FILE));
    }
    plexus.daemon.wait_log("is not passed to the plugins");
    // A missing file is no reason for a warning.
    plexus.runtime.add(&target).result();
    plexus.runtime.del(&target).expect_success();
    assert_eq!(plexus.daemon.log().matches("DeviceInfoInvalid").count(), 3);
}

#[test]
fn a_file_of_a_plugin_that_cannot_be_used_is_left_out_with_a_warning() {
    rows!("D-011", "D-017");
    let node = node!();
    let plexus = Plexus::start(&node);
    let secret = node.scratch().join("secret");
    node.write(&secret, document().to_string());
    let large = format!("{}{}", document(), " ".repeat(1 << 20));
    let unknown_type = json!({"type": "foo", "version": "1.1.0", "foo": {}}).to_string();
    let write = |content: &str| Step::WriteDeviceInfo(content.to_owned());
    let pod = Pod::new("p").with_networks("made");
    let sandbox = node.sandbox("p");
    let target = sandbox.target(&pod);
    let path = file(&target, "made");
    let link = ["ln", "-s", &secret.display().to_string(), &path].map(str::to_owned);
    for (number, step) in [
        write(&unknown_type),
        write("{"),
        write(&large),
        Step::Run(link.to_vec()),
        Step::Run(["mkfifo", &path].map(str::to_owned).to_vec()),
    ]
    .into_iter()
    .enumerate()
    {
        network(&plexus, "made", &Script::new().on("ADD", [step]));
        plexus.runtime.add(&target).result();
        assert_eq!(published(&plexus, &pod), None, "{number}");
        let log = plexus.daemon.log();
        let warnings = log
            .matches("its device information is not published")
            .count();
        assert_eq!(warnings, number + 1, "{log}");
        plexus.runtime.del(&target).expect_success();
        assert_eq!(node.list(DIR), [""; 0]);
    }
    assert!(node.exists(&secret));
}

#[test]
fn the_file_is_removed_whether_or_not_the_plugins_succeed() {
    rows!("D-009");
    let node = node!();
    let plexus = Plexus::start(&node);
    write_device_file(&node, &document().to_string());
    let pod = device_pod("device");
    let sandbox = node.sandbox("p");
    let target = sandbox.target(&pod);
    // A failed ADD.
    device_network(&plexus, "device", &attaches().fails("ADD", 120, "full"));
    plexus.runtime.add(&target).expect_code(120);
    let seen = plexus.calls_of("ADD").remove(1).device_info;
    assert!(seen.is_some() && node.list(DIR).is_empty());
    // A failed DEL.
    device_network(&plexus, "device", &attaches().fails("DEL", 120, "not now"));
    plexus.runtime.add(&target).result();
    assert_eq!(node.list(DIR).len(), 1);
    plexus.runtime.del(&target).expect_code(120);
    assert_eq!(node.list(DIR), [""; 0]);
    // A DEL that another program has preceded.
    node.plugin("device", &attaches());
    plexus.runtime.del(&target).expect_success();
    plexus.runtime.add(&target).result();
    node.run(|| fs::remove_file(file(&target, "device")))
        .expect("remove the file");
    plexus.runtime.del(&target).expect_success();
    assert!(node.exists(DEVICE_FILE));
}

#[test]
fn a_status_that_is_written_after_a_restart_has_the_device_of_the_add() {
    rows!("D-008");
    let node = node!();
    let mut plexus = Plexus::start_with(&node, json!({"recoveryInterval": "10ms"}));
    write_device_file(&node, &document().to_string());
    device_network(&plexus, "device", &attaches());
    let pod = device_pod("device");
    let blocker = plexus.manifests.dir().join("default.p.network-status.json");
    fs::create_dir_all(blocker.join("x")).expect("create the directory");
    let (sandbox, target) = attach(&plexus, &pod);
    plexus.daemon.kill();
    node.write(file(&target, "device"), "changed later");
    fs::remove_dir_all(blocker).expect("remove the directory");
    plexus.daemon.restart();
    NodeWatch::new(&node, &[plexus.manifests.dir()])
        .wait_while(|| plexus.network_status(&pod).is_none().then_some("no status"));
    assert_eq!(published(&plexus, &pod), Some(document()));
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn the_file_of_a_killed_add_is_removed_and_the_files_of_others_are_kept() {
    rows!("D-018");
    let node = node!();
    let mut plexus = Plexus::start_with(&node, json!({"recoveryInterval": "20ms"}));
    write_device_file(&node, &document().to_string());
    device_network(&plexus, "device", &attaches());
    let (_living, living_target) = attach(&plexus, &device_pod("device"));
    // Another meta-plugin uses the same directory.
    let foreign = format!("{DIR}/default-device-ffff_net1");
    node.write(&foreign, document().to_string());
    let gate = node.gate("device");
    device_network(
        &plexus,
        "device",
        &attaches().on("ADD", [gate.step(), Step::link()]),
    );
    let pod = Pod {
        name: "killed".to_owned(),
        ..device_pod("device").with_uid("uid-of-killed")
    };
    let sandbox = node.sandbox("killed");
    let target = sandbox.target(&pod);
    let running = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    running.kill();
    plexus.daemon.kill();
    assert!(node.exists(file(&target, "device")));
    held.release();
    plexus.daemon.restart();
    plexus.wait_records(&[&living_target]);
    assert!(!node.exists(file(&target, "device")));
    assert!(node.exists(file(&living_target, "device")) && node.exists(&foreign));
    assert!(node.exists(DEVICE_FILE));
}
