//! A plugin that outlives its daemon: what it would make after the clean-up, nobody would delete.

use std::fs;

use plexus_e2e::binaries::binary;
use plexus_e2e::{Changes, Daemon, Flavour, Gate, Manifests, Node, Pod, Runtime, Script, Step, Target, node};
use serde_json::json;

const LEDGER: &str = "/var/lib/plexus/ledger";

#[test]
fn a_plugin_that_a_killed_daemon_left_running_is_ended_before_its_del() {
    plexus_api::rows!("R-067");
    let node = node!();
    let gate = node.gate("add");
    // It has taken an address, so to speak, and is about to make the link.
    let add = [gate.step(), Step::Link("bridge".into()), Step::result("10.4.0.2/24", "10.4.0.1")];
    let script = Script::new().on("ADD", add).on("DEL", [Step::Unlink]);
    assert_eq!(interrupt(&node, &script, &gate, Daemon::kill9), ["ADD", "DEL"]);
}

#[test]
fn a_rollback_that_outlasts_the_grace_is_ended_by_the_next_daemon_and_done_again() {
    plexus_api::rows!("R-067");
    let node = node!();
    let gate = node.gate("del");
    let script = Script::new().fails("ADD", 120, "full").on("DEL", [gate.step()]);
    let stop = |daemon: &mut Daemon<'_>| {
        daemon.stop();
        // What the next daemon calls does not wait.
        node.plugin("primary", &Script::new());
    };
    assert_eq!(interrupt(&node, &script, &gate, stop), ["ADD", "DEL", "DEL"]);
}

/// Starts an ADD with a plugin that does `script`, ends the daemon when the plugin is at the gate, and starts another, until
/// nothing is left. The verbs that the plugin was asked.
fn interrupt<'n>(node: &'n Node, script: &Script, gate: &Gate, end: impl FnOnce(&mut Daemon<'n>)) -> Vec<String> {
    node.plugin("primary", script);
    let network = node.scratch().join("primary.conf");
    let config = json!({"cniVersion": "1.0.0", "name": "primary", "type": "primary"});
    fs::write(&network, config.to_string()).expect("it can be written");
    let manifests = Manifests::new(node.scratch().join("manifests"));
    manifests.pod(&Pod::new("web"));
    let mut config = json!({
        "binDir": node.bin_dir(),
        "clusterNetwork": network,
        "recoveryInterval": "1s",
        "shutdownGrace": "100ms",
    });
    let mut daemon = Daemon::start(node, &config, manifests.dir());
    let of_runtime = json!({"cniVersion": "1.1.0", "name": "plexus", "type": "plexus"});
    let runtime = Runtime::new(node, Flavour::Containerd, binary("plexus"), of_runtime);
    let sandbox = node.sandbox("web");
    let adding = runtime.start("ADD", &Target::new(&sandbox, "eth0", &Pod::new("web")));
    let held = gate.wait();
    end(&mut daemon);
    assert!(!adding.wait().ok());
    assert_eq!(node.processes().len(), 1, "only the plugin runs");

    // Only the new daemon is impatient: the old one is not to end the plugin by its time limit.
    config["pluginTimeout"] = json!("1s");
    daemon.configure(&config);
    daemon.launch();
    daemon.wait_ready();
    let ledger = || {
        let records = fs::read_dir(LEDGER).map_or(0, Iterator::count);
        (records > 0).then(|| format!("{records} records"))
    };
    Changes::watch(node, &[LEDGER.as_ref()]).until_none(|| node.run(ledger));
    // It was killed, not let go: opening the gate now makes nothing.
    drop(held);
    assert_eq!(node.processes().len(), 1, "only plexusd runs");
    assert!(sandbox.link("eth0").is_none(), "{:?}", sandbox.links());
    node.calls().iter().map(|call| call.verb.clone()).collect()
}
