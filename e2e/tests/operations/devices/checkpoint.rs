//! Kubelet's checkpoint, which is read if the socket is missing.

use std::fs;
use std::path::Path;

use plexus_api::rows;
use plexus_e2e::{Node, Plexus, node};
use serde_json::{Value, json};

use super::{VF, add, devices, pod};
use crate::assert_error;

/// Writes the checkpoint of a kubelet that is not running.
fn write(node: &Node, content: &Value) {
    write_in(node, &node.kubelet_dir(), content);
}

fn write_in(node: &Node, kubelet_dir: &Path, content: &Value) {
    let dir = kubelet_dir.join("device-plugins");
    node.run(|| {
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("kubelet_internal_checkpoint"), content.to_string())
    })
    .expect("write the checkpoint");
}

fn content() -> Value {
    let entry = |uid: &str, ids: Value| json!({"PodUID": uid, "ContainerName": "c", "ResourceName": VF, "DeviceIDs": ids});
    let entries = [
        entry("uid-of-q", json!({"0": ["v3"]})),
        entry("uid-of-p", json!({"0": ["v2"], "1": ["v2"]})),
        entry("uid-of-p", json!({"0": ["v1"]})),
    ];
    let registered = json!({VF: ["v1", "v2", "v3"]});
    json!({
        "Data": {"PodDeviceEntries": entries, "RegisteredDevices": registered}, "Checksum": 1,
    })
}

#[test]
fn without_a_socket_the_checkpoint_is_read_by_the_uid_of_the_pod() {
    rows!("D-050");
    let node = node!();
    let plexus = Plexus::start(&node);
    write(&node, &content());
    plexus.device_networks(&[("a", VF), ("b", VF), ("c", VF), ("marked", "x/marker")]);
    add(&plexus, "p", "b,marked,a").result();
    assert_eq!(devices(&plexus), ["b v1", "a v2"]);
    assert_error(&add(&plexus, "p", "a,b,c"), 111, &[VF, "need 3", "have 2"]);
    assert_error(&add(&plexus, "other", "a"), 111, &[VF, "need 1", "have 0"]);
}

#[test]
fn the_checkpoint_is_found_although_kubelet_has_another_root_directory() {
    rows!("D-050");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.device_networks(&[("a", VF)]);
    write_in(&node, Path::new("/var/lib/kubelet"), &content());
    add(&plexus, "p", "a").result();
    assert_eq!(devices(&plexus), ["a v1"]);
}

#[test]
fn with_a_socket_the_checkpoint_is_not_read() {
    rows!("D-050");
    let node = node!();
    let (mut kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    write(&node, &content());
    plexus.device_networks(&[("a", VF)]);
    kubelet.run(pod("p", &["v7"]));
    add(&plexus, "p", "a").result();
    assert_eq!(devices(&plexus), ["a v7"]);
    // A kubelet that is starting has no pods yet, and removes its socket for a moment.
    kubelet.stop();
    fs::remove_file(kubelet.socket()).expect("remove the socket");
    add(&plexus, "p", "a").result();
    assert_eq!(devices(&plexus), ["a v7", "a v1"]);
}

#[test]
fn without_socket_and_checkpoint_the_error_names_both_and_the_key() {
    rows!("D-050");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.device_networks(&[("a", VF)]);
    let dir = node.kubelet_dir();
    let socket = dir.join("pod-resources/kubelet.sock").display().to_string();
    let path = dir.join("device-plugins/kubelet_internal_checkpoint");
    let path = path.display().to_string();
    let output = add(&plexus, "p", "a");
    assert_error(
        &output,
        111,
        &["default/a", VF, &socket, &path, "kubeletDir"],
    );
    write(&node, &json!({"Data": []}));
    let cause = format!("{path}: Data has another type");
    assert_error(&add(&plexus, "p", "a"), 111, &["default/a", VF, &cause]);
}

#[test]
fn a_resource_whose_devices_are_all_unhealthy_is_not_one_without_devices() {
    rows!("D-035");
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.device_networks(&[("a", VF), ("marked", "x/marker")]);
    // Kubelet reports healthy devices only.
    kubelet.has_devices([]);
    kubelet.run(pod("p", &[]));
    write(
        &node,
        &json!({"Data": {"PodDeviceEntries": null, "RegisteredDevices": {VF: null}}}),
    );
    assert_error(&add(&plexus, "p", "a"), 111, &[VF, "need 1", "have 0"]);
    add(&plexus, "p", "marked").result();
    assert_eq!(devices(&plexus), [""; 0], "attached without a device");
}
