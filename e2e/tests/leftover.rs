//! A plugin that outlives its daemon: what it would make after the clean-up, nobody would delete.

use std::fs;

use plexus_e2e::binaries::binary;
use plexus_e2e::{Changes, Daemon, Flavour, Manifests, Pod, Runtime, Script, Step, Target, node};
use serde_json::json;

const LEDGER: &str = "/var/lib/plexus/ledger";

#[test]
fn a_plugin_that_a_killed_daemon_left_running_is_ended_before_its_del() {
    plexus_api::rows!("R-067");
    let node = node!();
    let gate = node.gate("add");
    // It has taken an address, so to speak, and is about to make the link.
    let add = [gate.step(), Step::Link("bridge".into()), Step::result("10.4.0.2/24", "10.4.0.1")];
    node.plugin("primary", &Script::new().on("ADD", add).on("DEL", [Step::Unlink]));
    let network = node.scratch().join("primary.conf");
    let config = json!({"cniVersion": "1.0.0", "name": "primary", "type": "primary"});
    fs::write(&network, config.to_string()).expect("it can be written");
    let manifests = Manifests::new(node.scratch().join("manifests"));
    manifests.pod(&Pod::new("web"));
    let config =
        json!({"binDir": node.bin_dir(), "clusterNetwork": network, "pluginTimeout": "1s", "recoveryInterval": "1s"});
    let mut daemon = Daemon::start(&node, &config, manifests.dir());
    let config = json!({"cniVersion": "1.1.0", "name": "plexus", "type": "plexus"});
    let runtime = Runtime::new(&node, Flavour::Containerd, binary("plexus"), config);
    let sandbox = node.sandbox("web");
    let adding = runtime.start("ADD", &Target::new(&sandbox, "eth0", &Pod::new("web")));
    let held = gate.wait();
    let before = node.processes();
    daemon.kill9();
    assert!(!adding.wait().ok());

    daemon.launch();
    daemon.wait_ready();
    let ledger = || {
        let records = fs::read_dir(LEDGER).map_or(0, Iterator::count);
        (records > 0).then(|| format!("{records} records"))
    };
    Changes::watch(&node, &[LEDGER.as_ref()]).until_none(|| node.run(ledger));
    // It was killed, not let go: opening the gate now makes nothing.
    drop(held);
    assert!(node.processes().len() < before.len(), "the plugin still runs");
    assert!(sandbox.link("eth0").is_none(), "{:?}", sandbox.links());
    let verbs: Vec<_> = node.calls().iter().map(|call| call.verb.clone()).collect();
    assert_eq!(verbs.last().map(String::as_str), Some("DEL"), "{verbs:?}");
}
