//! Tests of the test harness itself. The runtimes execute a scripted plugin or a reference plugin
//! instead of the shim.

mod cluster;
mod nodes;
mod plugins;
mod runtimes;

use plexus_e2e::{Flavour, Node, Runtime, Script};
use serde_json::json;

/// A runtime that executes the scripted plugin `fake`.
fn scripted<'n>(node: &'n Node, flavour: Flavour, script: &Script) -> Runtime<'n> {
    node.plugin("fake", script);
    let config = json!({"cniVersion": "1.0.0", "name": "net", "type": "fake"});
    Runtime::new(node, flavour, node.bin_dir().join("fake"), config)
}
