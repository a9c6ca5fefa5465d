//! A daemon takes over from another while pods start and stop, as in an upgrade. No call fails.

mod socket;
mod takeover;

use plexus_e2e::plexus::MAIN;
use plexus_e2e::{Node, Plexus, Pod, Script, Step};
use serde_json::json;

/// Starts Plexus. ADD of the default network begins with the step `first`.
fn start(node: &Node, first: Option<Step>) -> Plexus<'_> {
    let mut plexus = build(node, first);
    plexus.daemon.restart();
    plexus
}

/// The same without a running daemon.
fn build(node: &Node, first: Option<Step>) -> Plexus<'_> {
    let plexus = Plexus::on(node)
        .config(json!({"binDir": node.bin_dir(), "logLevel": "debug"}))
        .runtime(json!({"capabilities": null}))
        .build();
    let add = first
        .into_iter()
        .chain([Step::link(), Step::result("10.4.0.2/24", "10.4.0.1")]);
    node.plugin(
        MAIN,
        &Script::new().on("ADD", add).on("DEL", [Step::Unlink]),
    );
    plexus.manifests.pod(&Pod::new("web"));
    plexus
}

/// The names in the directory of the socket.
fn socket_dir(node: &Node) -> Vec<String> {
    node.list("/run/plexus")
}
