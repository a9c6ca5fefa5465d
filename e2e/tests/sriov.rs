//! Virtual functions of a network card, handed out by kubelet and attached by real plugins.
//! `make e2e-sriov` runs these tests in a virtual machine with an emulated card.
//!
//! The tests run only if `PLEXUS_E2E_SRIOV` has the PCI address of a card whose virtual functions
//! exist. Each test has functions of its own.

use std::fs;
use std::path::Path;

use plexus_api::rows;
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::kubelet::{Container, Device, Kubelet, Pod};
use plexus_e2e::{CniTarget, Node, Plexus, Script, Step, attaches, node, or_skip};
use serde_json::{Value, json};

const RESOURCE: &str = "example.com/vfs";
const DEVINFO: &str = "/var/run/k8s.cni.cncf.io/devinfo";

/// A virtual function with a kernel driver.
#[derive(Debug)]
struct Function {
    /// The PCI address.
    address: String,
    /// The network interface on the node, and its MAC.
    name: String,
    mac: String,
}

/// The PCI address of the card.
///
/// # Errors
/// The reason to skip the test: the environment names no card.
fn card() -> Result<String, String> {
    std::env::var("PLEXUS_E2E_SRIOV").map_err(|_| {
        "PLEXUS_E2E_SRIOV is not set; make e2e-sriov starts a machine with a card".into()
    })
}

/// The network interface of a device on the machine.
fn interface(device: &Path) -> String {
    let mut entries = fs::read_dir(device.join("net")).expect("a device with an interface");
    let entry = entries.next().expect("an interface").expect("read");
    entry.file_name().to_string_lossy().into_owned()
}

/// Moves the functions with these numbers from the machine to the node.
fn take<const N: usize>(node: &Node, card: &str, numbers: [usize; N]) -> [Function; N] {
    let card = Path::new("/sys/bus/pci/devices").join(card);
    numbers.map(|number| {
        let device = fs::canonicalize(card.join(format!("virtfn{number}"))).expect("a function");
        let name = interface(&device);
        node.take_link(&name);
        let links = node.links();
        let link = links.into_iter().find(|link| link.name == name);
        Function {
            address: device
                .file_name()
                .expect("an address")
                .to_string_lossy()
                .into_owned(),
            mac: link.expect("the interface").mac,
            name,
        }
    })
}

/// Allocates the functions to the pod, the last one first, and describes them as a device plugin
/// does.
fn allocate(node: &Node, kubelet: &Kubelet, pod: &str, functions: &[Function]) {
    node.run(|| fs::create_dir_all(format!("{DEVINFO}/dp")))
        .expect("create the directory");
    let mut container = Container::new("main");
    for Function { address, .. } in functions.iter().rev() {
        let name = format!("{}-{address}-device.json", RESOURCE.replace('/', "-"));
        node.write(
            format!("{DEVINFO}/dp/{name}"),
            document(address).to_string(),
        );
        container = container.device(Device::new(RESOURCE, address));
    }
    kubelet.run(Pod::new("default", pod).with(container));
}

fn document(address: &str) -> Value {
    json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": address}})
}

/// Defines the networks `first` and `second` of the resource, with the plugin `plugin`.
fn define(plexus: &Plexus<'_>, plugin: &str) {
    for name in ["first", "second"] {
        let config = json!({"cniVersion": "1.0.0", "type": plugin});
        plexus.manifests.device_definition(name, RESOURCE, &config);
    }
}

/// Asserts that the functions are on the node, under their names.
#[track_caller]
fn assert_on_node(node: &Node, functions: &[Function]) {
    let links = node.links();
    for Function { name, mac, .. } in functions {
        let link = links.iter().find(|link| link.name == *name);
        assert_eq!(link.map(|link| &link.mac), Some(mac), "{name} in {links:?}");
    }
}

/// Asserts that the functions are in the sandbox, in order, and described in network-status.
#[track_caller]
fn assert_attached(
    plexus: &Plexus<'_>,
    functions: &[Function],
    pod: &plexus_e2e::Pod,
    links: &[plexus_e2e::ip::Link],
) {
    let status = plexus.network_status(pod).expect("network-status");
    for (index, Function { address, mac, .. }) in functions.iter().enumerate() {
        let ifname = format!("net{}", index + 1);
        let link = links.iter().find(|link| link.name == ifname);
        assert_eq!(
            link.map(|link| &link.mac),
            Some(mac),
            "{ifname} in {links:?}"
        );
        let entries = status.as_array().expect("a list");
        let entry = entries.iter().find(|entry| entry["interface"] == ifname);
        assert_eq!(entry.expect("an entry")["device-info"], document(address));
        let on_node = plexus.node.links();
        assert!(on_node.iter().all(|link| link.mac != *mac), "{on_node:?}");
    }
}

/// Attaches a pod with two functions and detaches the pod again, with kills and restarts between.
fn attach_and_detach(plexus: &mut Plexus<'_>, kubelet: &mut Kubelet, functions: &[Function; 2]) {
    let node = plexus.node;
    let pod = plexus_e2e::Pod::new("p").with_networks("first,second");
    allocate(node, kubelet, "p", functions);
    for is_killed in [false, true] {
        let (sandbox, target) = plexus.attached("p", "first,second");
        assert_attached(plexus, functions, &pod, &sandbox.links());
        // Kubelet has given the devices to another pod by now.
        kubelet.run(Pod::new("default", "p").with(Container::new("main")));
        kubelet.restart();
        if is_killed {
            plexus.daemon.kill();
            assert!(!plexus.runtime.del(&target).ok(), "no plexusd is running");
            plexus.daemon.restart();
            plexus.wait_records(&[]);
        } else {
            plexus.daemon.restart();
            plexus.runtime.del(&target).expect_success();
        }
        assert_on_node(node, functions);
        plexus.assert_nothing_left(&sandbox);
        assert_eq!(node.list(format!("{DEVINFO}/cni")), [""; 0]);
        sandbox.remove();
        allocate(node, kubelet, "p", functions);
    }
}

/// Kills plexusd while a pod that has its functions waits for a third network.
fn kill_while_attaching(plexus: &mut Plexus<'_>, functions: &[Function; 2]) {
    let node = plexus.node;
    let gate = node.gate("last");
    plexus.network(
        "last",
        &Script::new().on("ADD", [gate.step(), Step::link()]),
    );
    let (sandbox, target): (_, CniTarget) = plexus.sandbox("p", "first,second,last");
    let running = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    assert!(sandbox.link("net2").is_some());
    plexus.daemon.kill();
    running.kill();
    held.release();
    plexus.network("last", &attaches());
    plexus.daemon.restart();
    plexus.wait_records(&[]);
    assert_on_node(node, functions);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn host_device_takes_the_functions_of_a_pod_by_their_addresses() {
    rows!("D-004", "D-008", "D-031", "D-032", "D-033");
    let card = or_skip!(card());
    let plugins = or_skip!(plugin_dir(&["host-device"]));
    let node = node!();
    let functions = take(&node, &card, [0, 1]);
    node.real_plugins(&plugins, &["host-device"]);
    let (mut kubelet, mut plexus) = (node.kubelet(), Plexus::start(&node));
    define(&plexus, "host-device");
    attach_and_detach(&mut plexus, &mut kubelet, &functions);
    kill_while_attaching(&mut plexus, &functions);
}

#[test]
fn sriov_cni_takes_the_functions_of_a_pod_by_their_addresses() {
    let card = or_skip!(card());
    let plugins = or_skip!(plugin_dir(&["sriov"]));
    let node = node!();
    let functions = take(&node, &card, [2, 3]);
    // The plugin configures the functions through the card.
    node.take_link(&interface(&Path::new("/sys/bus/pci/devices").join(&card)));
    node.real_plugins(&plugins, &["sriov"]);
    let (mut kubelet, mut plexus) = (node.kubelet(), Plexus::start(&node));
    define(&plexus, "sriov");
    attach_and_detach(&mut plexus, &mut kubelet, &functions);
    kill_while_attaching(&mut plexus, &functions);
}
