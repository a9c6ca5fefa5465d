//! The CNI operations with both programs: the shim, executed as a runtime does, plexusd, and
//! scripted plugins.

mod add;
mod already_gone;
mod auxiliary_chain;
mod check;
mod cluster_routes;
mod crio;
mod default_network;
mod default_route;
mod definitions;
mod del;
mod device_assignment;
mod device_info;
mod devices;
mod environment;
mod failed_del;
mod failing_plugins;
mod from_multus;
mod gc;
mod gc_concurrency;
mod invalid_calls;
mod isolation;
mod limits;
mod long_text;
mod memory;
mod multus_recordings;
mod network_status;
mod plugin_types;
mod rollback;
mod selection;
mod socket;
mod status;
mod vendor_definitions;
mod versions;
mod waits;

use plexus_e2e::{CniOutput, Node, Plexus};
use serde_json::{Value, json};

/// Starts Plexus with a default network of version 1.1.0, the first one with GC and STATUS.
fn start_with_gc(node: &Node, keys: Value) -> Plexus<'_> {
    let default = json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": "main"}]});
    Plexus::on(node)
        .default_network(default)
        .config(keys)
        .start()
}

/// Asserts that a call failed with `code` and a message of one short line that contains each of
/// `parts` exactly once.
#[track_caller]
fn assert_error(output: &CniOutput, code: u64, parts: &[&str]) {
    let msg = output.expect_code(code);
    for part in parts {
        assert_eq!(msg.matches(part).count(), 1, "{part} once in: {msg}");
    }
    assert!(!msg.contains('\n') && msg.len() < 800, "{msg}");
    assert_eq!(output.stdout.trim_end().lines().count(), 1, "{output:?}");
}
