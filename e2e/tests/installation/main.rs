//! The installation of Plexus on a node: the daemon finds the default network, publishes its
//! configuration, installs its shim, and removes both on uninstall.

mod failures;
mod migration;
mod publish;
mod uninstall;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use plexus_e2e::plexus::{NET_D, PUBLISHED};
use plexus_e2e::{Flavour, Node, NodeWatch, Plexus, Pod, Runtime, Script, Step};
use serde_json::{Value, json};

/// The configuration of the default network, whose plugin is `ovn`.
const DEFAULT_NETWORK: &str = "/etc/cni/net.d/10-ovn-kubernetes.conf";

/// A node with the runtime's directories and the plugin `ovn`. There is no default network yet, and
/// the daemon is not running.
fn build(node: &Node) -> Plexus<'_> {
    build_with(node, json!({}))
}

/// The same with `keys` merged into the configuration of the daemon.
fn build_with(node: &Node, keys: Value) -> Plexus<'_> {
    let add = [Step::link(), Step::result("10.4.0.2/24", "10.4.0.1")];
    node.plugin(
        "ovn",
        &Script::new().on("ADD", add).on("DEL", [Step::Unlink]),
    );
    let installed = json!({
        "clusterNetwork": null, "multusAutoconfigDir": NET_D, "binDir": node.bin_dir(),
        "goneGap": "0s", "primaryGrace": "0s",
    });
    let plexus = Plexus::on(node)
        .installed()
        .config(installed)
        .config(keys)
        .build();
    plexus.manifests.pod(&Pod::new("web"));
    plexus
}

/// Starts Plexus with a default network.
fn start(node: &Node) -> Plexus<'_> {
    let mut plexus = build(node);
    write_default_network(node);
    plexus.daemon.restart();
    plexus
}

fn write_default_network(node: &Node) {
    let config = json!({
        "cniVersion": "1.0.0", "name": "ovn", "type": "ovn",
        "capabilities": {"portMappings": true},
    });
    node.write(DEFAULT_NETWORK, config.to_string());
}

/// The installed shim.
fn shim(node: &Node) -> PathBuf {
    node.bin_dir().join("plexus")
}

fn watch(node: &Node) -> NodeWatch {
    let bin_dir = node.bin_dir();
    NodeWatch::new(node, &[Path::new("/etc/cni"), Path::new(NET_D), &bin_dir])
}

/// A runtime that executes `shim` with the published configuration.
fn published_runtime<'n>(plexus: &Plexus<'n>, shim: PathBuf) -> Runtime<'n> {
    let list = plexus.published().expect("a published configuration");
    assert_eq!(list["cniVersions"], json!(["1.0.0", "1.1.0"]));
    let mut plugin = list["plugins"][0].clone();
    plugin["name"] = list["name"].clone();
    plugin["cniVersion"] = json!("1.1.0");
    Runtime::new(plexus.node, Flavour::Containerd, shim, plugin)
}

/// Inode and modification time of the published configuration.
fn published_stamp(node: &Node) -> (u64, i64, i64) {
    let meta = node
        .run(|| std::fs::metadata(PUBLISHED))
        .expect("a published configuration");
    (meta.ino(), meta.mtime(), meta.mtime_nsec())
}
