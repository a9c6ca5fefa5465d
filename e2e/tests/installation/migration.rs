//! Migration from Multus and back.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plexus_api::rows;
use plexus_e2e::json::with_keys;
use plexus_e2e::plexus::PUBLISHED;
use plexus_e2e::{Pod, Sandbox, node};
use serde_json::json;

use crate::{DEFAULT_NETWORK, build, published_runtime, shim, write_default_network};

/// The configuration of Multus.
const MULTUS: &str = "/etc/cni/net.d/00-multus.conf";
/// The directory in which Multus stores the networks of each pod.
const CACHE: &str = "/var/lib/cni/multus";

fn cache_of(sandbox: &Sandbox<'_>) -> String {
    format!("{CACHE}/{}", sandbox.id())
}

#[test]
fn a_node_migrates_from_multus_to_plexus_and_back_while_pods_run() {
    rows!("R-088");
    let node = node!();
    let mut plexus = build(&node);
    write_default_network(&node);
    let multus =
        json!({"cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus-shim"})
            .to_string();
    node.write(MULTUS, &multus);
    // Multus has attached two pods.
    let [stopped, running] = ["stopped", "running"].map(|name| node.sandbox(name));
    let network = STANDARD.encode(node.read(DEFAULT_NETWORK));
    node.run(|| fs::create_dir_all(CACHE))
        .expect("create the directory");
    for sandbox in [&stopped, &running] {
        sandbox.ip("link add eth0 type bridge");
        let delegates = json!([{"Name": "ovn", "Bytes": network}]);
        node.write(cache_of(sandbox), delegates.to_string());
    }
    plexus.config = with_keys(plexus.config, json!({"recoveryInterval": "50ms"}));
    plexus.daemon = plexus.new_daemon();
    plexus.daemon.launch();
    plexus.daemon.wait_not_ready("00-multus.conf sorts before");
    // After Multus was removed, Plexus serves the pods of Multus and new ones.
    node.run(|| fs::remove_file(MULTUS))
        .expect("remove the file");
    plexus.daemon.wait_ready();
    let runtime = published_runtime(&plexus, shim(&node));
    let target = stopped.target(&Pod::new("stopped"));
    runtime.del(&target).expect_success();
    assert!(stopped.link("eth0").is_none() && !node.exists(cache_of(&stopped)));
    let (new, target) = plexus.sandbox("web", "");
    runtime.add(&target).result();
    // After Plexus was removed and Multus installed again, the runtime executes Multus. Plexus
    // still cleans up what it has attached.
    plexus.daemon.stop();
    plexus.daemon.launch_subcommand("uninstall");
    plexus
        .daemon
        .wait_log("removed /etc/cni/net.d/00-plexus.conflist; the runtime now loads");
    assert!(!node.exists(PUBLISHED));
    // Multus takes the first file that is left.
    node.write(MULTUS, &multus);
    plexus
        .daemon
        .wait_not_ready("until these are deleted: pod default/web");
    let log = plexus.daemon.log();
    assert!(!log.contains("refers to"), "{log}");
    new.remove();
    plexus.daemon.wait_ready();
    assert!(!shim(&node).exists());
    assert!(
        node.exists(MULTUS) && node.exists(cache_of(&running)),
        "the files of Multus are kept"
    );
    assert_eq!(
        plexus.calls(),
        ["DEL ovn eth0", "ADD ovn eth0", "DEL ovn eth0"]
    );
}

#[test]
fn an_uninstall_warns_that_multus_has_taken_our_file_for_its_default_network() {
    let node = node!();
    let mut plexus = build(&node);
    write_default_network(&node);
    plexus.daemon.restart();
    // The configuration that the daemon of Multus generates.
    let multus = json!({
        "cniVersion": "0.3.1", "name": "multus-cni-network", "type": "multus-shim",
        "clusterNetwork": "/host/etc/cni/net.d/00-plexus.conflist", "logLevel": "verbose",
        "logToStderr": true, "daemonSocketDir": "/run/multus/",
    });
    node.write(MULTUS, multus.to_string());
    plexus.daemon.stop();
    plexus.daemon.launch_subcommand("uninstall");
    plexus.daemon.wait_ready();
    let log = plexus.daemon.log();
    let warning =
        "00-multus.conf refers to /etc/cni/net.d/00-plexus.conflist, which was removed: restart";
    assert!(log.contains(warning), "{log}");
    assert!(!node.exists(PUBLISHED));
}
