//! Nodes and sandboxes are isolated and leave nothing behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::{Flavour, Node, Pod, Runtime, Script, Step, node, or_skip};
use serde_json::{Value, json};

use crate::scripted;

/// The number of links of the machine.
fn machine_links() -> usize {
    fs::read_dir("/sys/class/net")
        .map(|links| links.flatten().count())
        .unwrap_or_default()
}

#[test]
fn nodes_are_isolated() {
    let (one, two) = (node!(), node!());
    let before = machine_links();
    let files = ["/var/lib/cni/mark", "/run/mark"];
    for (node, address) in [(&one, "10.9.0.1/24"), (&two, "10.9.0.2/24")] {
        node.ip("link add br0 type bridge");
        node.ip(&format!("addr add {address} dev br0"));
        for file in files {
            node.write(file, address);
        }
    }
    for (node, address) in [(&one, "10.9.0.1/24"), (&two, "10.9.0.2/24")] {
        let links = node.links();
        let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["lo", "br0"]);
        assert!(links[0].up && !links[1].up, "{links:?}");
        assert_eq!(links[1].addresses, [address]);
        for file in files {
            assert_eq!(node.read(file), address);
        }
    }
    for file in files {
        assert!(!PathBuf::from(file).exists());
    }
    assert_eq!(before, machine_links(), "links of the machine");
}

#[test]
fn the_children_of_var_lib_can_be_read() {
    let node = node!();
    let mut expected: Vec<_> = fs::read_dir("/var/lib")
        .expect("read /var/lib")
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap_or_default())
        .collect();
    expected.extend(["cni", "kubelet", "plexus"].map(str::to_owned));
    expected.sort();
    expected.dedup();
    assert_eq!(node.list("/var/lib"), expected);
}

#[test]
fn a_removed_sandbox_leaves_nothing() {
    let node = node!();
    let sandbox = node.sandbox("pod");
    assert_ne!(sandbox.inode(), node.sandbox("other").inode());
    sandbox.ip("link add data0 type bridge");
    sandbox.ip("addr add 10.8.0.1/24 dev data0");
    sandbox.ip("link set data0 up");
    let link = sandbox.link("data0").expect("the link");
    assert!(
        link.up && link.addresses == ["10.8.0.1/24"] && link.mac.len() == 17,
        "{link:?}"
    );
    assert!(
        sandbox
            .routes()
            .iter()
            .any(|route| route.dst == "10.8.0.0/24" && route.dev.as_deref() == Some("data0"))
    );
    assert_eq!(node.links().len(), 1, "the link is not on the node");
    sandbox.remove();
    sandbox.remove();
    assert_eq!(node.list("/run/netns"), ["other"]);
    let mounts = node.read("/proc/thread-self/mountinfo");
    assert!(!mounts.contains("/run/netns/pod "), "{mounts}");
    node.sandbox("pod");
}

#[test]
fn dropping_a_node_kills_its_processes() {
    let node = node!();
    let gate = node.gate("here");
    let script = Script::new().on("ADD", [Step::HoldOutput, gate.step(), Step::Hang]);
    let runtime = scripted(&node, Flavour::Containerd, &script);
    let running = runtime.start("ADD", &node.sandbox("pod").target(&Pod::new("p")));
    gate.wait().release();
    let processes = node.processes();
    assert_eq!(processes.len(), 2, "the plugin and its child");
    drop(node);
    let output = running.wait();
    assert_eq!(output.exit, None, "killed: {output:?}");
}

#[test]
fn an_uplink_can_have_a_macvlan() {
    let node = node!();
    node.uplink("uplink0");
    let links = node.links();
    let uplink = links.iter().find(|link| link.name == "uplink0");
    assert!(uplink.expect("the uplink").up);
    node.ip("link add link uplink0 name mac0 type macvlan mode bridge");
}

#[test]
fn real_plugins_work_on_nodes_in_parallel() {
    let plugins = or_skip!(plugin_dir(&["bridge", "host-local"]));
    let nodes = [node!(), node!(), node!(), node!()];
    thread::scope(|scope| {
        for node in &nodes {
            scope.spawn(|| run_pod_on_bridge(node, &plugins));
        }
    });
}

fn run_pod_on_bridge(node: &Node, plugins: &Path) {
    let config = json!({
        "cniVersion": "1.0.0", "name": "pods", "type": "bridge", "bridge": "cni0", "isGateway": true,
        "ipam": {"type": "host-local", "subnet": "10.7.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]},
    });
    let runtime = Runtime::new(node, Flavour::Crio, plugins.join("bridge"), config)
        .with_cni_path(plugins.to_string_lossy());
    let leases = || {
        let files = node.list("/var/lib/cni/networks/pods");
        files.iter().filter(|name| name.starts_with("10.")).count()
    };
    let sandbox = node.sandbox("pod");
    let pod = Pod::new("p");
    let output = runtime.run_pod(&sandbox, &pod);
    assert_eq!(
        output.result()["ips"][0]["address"],
        Value::from("10.7.0.2/24"),
        "the same on every node"
    );
    let link = sandbox.link("eth0").expect("the link");
    assert!(link.up && link.addresses == ["10.7.0.2/24"], "{link:?}");
    let routes = sandbox.routes();
    let default = routes.iter().find(|route| route.dst == "default");
    let default = default.expect("a default route");
    assert_eq!(
        (default.gateway.as_deref(), default.dev.as_deref()),
        (Some("10.7.0.1"), Some("eth0"))
    );
    assert_eq!(
        (node.links().len(), leases()),
        (3, 1),
        "lo, cni0 and one veth"
    );
    runtime.stop_pod(&sandbox, &pod).expect_success();
    assert_eq!((node.links().len(), leases()), (2, 0));
}
