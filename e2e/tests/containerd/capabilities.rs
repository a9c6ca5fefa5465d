//! Arguments that containerd passes for the capabilities of the default network.

use plexus_e2e::cri::PortMapping;
use plexus_e2e::{Node, Pod, Script, node, or_skip, real_networks, skip};
use serde_json::{Value, json};

use crate::fixture::{self, PlexusWithContainerd};
use plexus_e2e::binaries::plugin_dir;

/// A plugin that logs the arguments after the plugins that use them.
const LAST: &str = "last";

/// The default network, with the plugins for host ports and bandwidth.
fn default_network(node: &Node) -> Value {
    node.plugin(LAST, &Script::new());
    let capabilities = json!({"portMappings": true, "bandwidth": true});
    json!({
        "cniVersion": "1.0.0", "name": real_networks::DEFAULT,
        "plugins": [
            real_networks::plugin(real_networks::DEFAULT),
            {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
            {"type": "bandwidth", "capabilities": {"bandwidth": true}},
            {"type": LAST, "capabilities": capabilities},
        ],
    })
}

/// The output of a command on the node, if the command succeeds.
fn output(node: &Node, command: &str) -> Option<String> {
    let mut words = command.split(' ');
    let mut process = std::process::Command::new(words.next().expect("a command"));
    let output = node.run(|| process.args(words).output()).ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

#[test]
fn host_ports_and_bandwidth_reach_the_plugins_of_the_default_network() {
    plexus_api::rows!("C-03", "C-04", "C-05", "C-06");
    let plugins = or_skip!(fixture::plugins());
    let names = ["portmap", "bandwidth"];
    or_skip!(plugin_dir(&names));
    let node = node!();
    if output(&node, "iptables -t nat -S").is_none() || output(&node, "tc qdisc").is_none() {
        skip!("iptables or tc is missing");
    }
    node.real_plugins(&plugins, &names);
    let default = default_network(&node);
    let plexus = PlexusWithContainerd::with_default_network(&node, &plugins, default, json!({}));
    let pod = Pod::new("web")
        .with_networks(fixture::NETWORKS)
        .annotated("kubernetes.io/ingress-bandwidth", "8M")
        .annotated("kubernetes.io/egress-bandwidth", "4M");
    let port = PortMapping {
        container_port: 80,
        host_port: 8066,
    };
    let id = plexus
        .cri
        .run_with_ports(&pod, &[port])
        .unwrap_or_else(|error| panic!("RunPodSandbox: {error}"));
    let calls = node.calls();
    let args = &calls[0].config()["runtimeConfig"];
    let mapping = json!({"HostPort": 8066, "ContainerPort": 80, "Protocol": "tcp", "HostIP": ""});
    assert_eq!(args["portMappings"], json!([mapping]));
    let burst = u64::from(u32::MAX);
    let bandwidth = json!({
        "IngressRate": 8_000_000, "IngressBurst": burst, "EgressRate": 4_000_000, "EgressBurst": burst,
    });
    assert_eq!(args["bandwidth"], bandwidth);

    let rules = || output(&node, "iptables -t nat -S").expect("iptables");
    assert!(rules().contains("--dport 8066"), "{}", rules());
    let limits = output(&node, "tc qdisc").expect("tc");
    for rate in ["rate 8Mbit", "rate 4Mbit"] {
        assert!(limits.contains(rate), "{limits}");
    }
    plexus.remove_pod(&id);
    plexus.wait_nothing_left();
    assert!(!rules().contains("8066"), "{}", rules());
}
