//! Recovery cleans up without being called: after `kill -9` at each step of ADD and DEL, after a
//! sandbox ended without a DEL, and after a DEL that found no daemon.

mod abandon;
mod cgroups;
mod irregular_files;
mod killed_daemon;
mod launcher;
mod ledger;
mod many_records;
mod missing_sandboxes;
mod operator;
mod retired;
mod spool;

use plexus_e2e::{CniTarget, Node, Plexus, Sandbox, attaches};
use serde_json::{Value, json};

/// A definition, and its scripted plugin.
const SECOND: &str = "second";

/// Starts Plexus with the definition [`SECOND`] and short intervals.
fn start(node: &Node) -> Plexus<'_> {
    start_with(node, json!({}))
}

/// The same with `keys` merged into the configuration of the daemon.
fn start_with(node: &Node, keys: Value) -> Plexus<'_> {
    let short = json!({"recoveryInterval": "20ms", "goneGap": "40ms", "logLevel": "debug"});
    let plexus = Plexus::on(node)
        .config(short)
        .config(keys)
        .runtime(json!({"daemonWaitDel": "20ms"}))
        .start();
    plexus.network(SECOND, &attaches());
    plexus
}

/// Attaches a pod to both networks.
fn attached<'n>(plexus: &Plexus<'n>, name: &str) -> (Sandbox<'n>, CniTarget) {
    plexus.attached(name, SECOND)
}

/// Whether neither interface of a pod exists.
fn is_detached(sandbox: &Sandbox<'_>) -> bool {
    sandbox.link_names() == ["lo"]
}
