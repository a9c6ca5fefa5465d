//! Networks of the reference CNI plugins: the bridge `pods` as the default network, and the macvlan
//! `lan` and the bridge `storage` as secondary networks.

use std::path::Path;

use serde_json::{Value, json};

use crate::{Manifests, Node, Plexus, PlexusBuilder};

/// The plugins that the networks need.
pub const PLUGINS: [&str; 3] = ["bridge", "macvlan", "host-local"];
/// The default network.
pub const DEFAULT: &str = "pods";
/// The secondary networks.
pub const SECONDARY: [&str; 2] = ["lan", "storage"];
/// All networks.
pub const NETWORKS: [&str; 3] = [DEFAULT, SECONDARY[0], SECONDARY[1]];
/// The links of the node that do not depend on its pods.
pub const LINKS: [&str; 5] = ["lo", "uplink0", "uplink0p", "cni0", "br1"];

/// Installs the plugins from `dir` and makes the links of the node.
fn prepare(node: &Node, dir: &Path) {
    node.real_plugins(dir, &PLUGINS);
    node.uplink("uplink0");
    // A bridge without an address of its own takes the lowest of its ports' addresses. The address
    // then changes with the pods, and CHECK fails.
    for (number, bridge) in ["cni0", "br1"].iter().enumerate() {
        node.ip(&format!(
            "link add {bridge} address 02:00:00:00:00:0{number} type bridge"
        ));
    }
}

/// Begins to set up Plexus with `pods` as the default network.
pub fn plexus_on<'n>(node: &'n Node, dir: &Path) -> PlexusBuilder<'n> {
    prepare(node, dir);
    Plexus::on(node).default_network(config(DEFAULT))
}

/// Writes the definitions of the secondary networks.
pub fn define(manifests: &Manifests) {
    for name in SECONDARY {
        manifests.definition(name, &config(name));
    }
}

/// The configuration of one of the [`NETWORKS`].
pub fn config(name: &str) -> Value {
    json!({"cniVersion": "1.0.0", "name": name, "plugins": [plugin(name)]})
}

/// The only plugin of that configuration.
pub fn plugin(name: &str) -> Value {
    match name {
        DEFAULT => json!({
            "type": "bridge", "bridge": "cni0", "isGateway": true,
            "ipam": {"type": "host-local", "subnet": "10.4.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]},
        }),
        "lan" => json!({
            "type": "macvlan", "master": "uplink0",
            "ipam": {"type": "host-local", "subnet": "10.5.0.0/16"},
        }),
        "storage" => json!({
            "type": "bridge", "bridge": "br1", "isGateway": true,
            "ipam": {"type": "host-local", "subnet": "10.6.0.0/16"},
        }),
        other => panic!("no network {other}"),
    }
}
