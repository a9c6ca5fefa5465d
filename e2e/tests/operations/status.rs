//! STATUS.

use std::fs;

use plexus_api::rows;
use plexus_e2e::{Plexus, Script, Step, attaches, node};
use serde_json::json;

use crate::start_with_gc;

#[test]
fn status_calls_the_networks_of_every_pod() {
    rows!(
        "C-15", "P-036", "P-043", "P-100", "P-101", "P-102", "P-103", "P-104", "R-034", "R-104"
    );
    let node = node!();
    let further = json!({"cniVersion": "1.1.0", "name": "further", "type": "further"});
    let keys = json!({"defaultNetworks": [node.write_json("further.conf", &further)]});
    let plexus = start_with_gc(&node, keys);
    node.plugin("further", &attaches());
    // A network of one pod only.
    let fails = attaches().fails("STATUS", 50, "the switch is down");
    node.plugin("a", &fails);
    plexus
        .manifests
        .definition("a", &json!({"cniVersion": "1.1.0", "type": "a"}));
    plexus.attached("p", "a");
    node.forget_calls();
    plexus.runtime.status().expect_success();
    assert_eq!(plexus.calls(), ["STATUS main", "STATUS further"]);
    for call in node.calls() {
        for key in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
            assert!(!call.env.contains_key(key), "{:?}", call.env);
        }
    }
    assert_eq!(node.calls()[1].config(), further);
    for (plugin, code) in [("main", 50), ("main", 51), ("further", 50), ("main", 120)] {
        let fails = attaches().fails("STATUS", code, "out of addresses");
        node.plugin(plugin, &fails);
        let output = plexus.runtime.status();
        let msg = output.expect_code(code.into());
        assert!(
            msg.starts_with("STATUS: network ")
                && msg.ends_with(&format!(
                    "plugin \"{plugin}\": out of addresses (code {code})"
                )),
            "{msg}"
        );
        node.plugin(plugin, &attaches());
        plexus.runtime.status().expect_success();
    }
    // ADD does not depend on STATUS.
    node.plugin("main", &attaches().fails("STATUS", 50, "out of addresses"));
    plexus.runtime.status().expect_code(50);
    plexus.attached("next", "");
}

#[test]
fn status_fails_if_add_cannot_succeed() {
    rows!("P-100", "P-101", "P-105");
    let node = node!();
    let mut plexus = start_with_gc(&node, json!({"pluginTimeout": "2s"}));
    node.plugin("main", &attaches().on("STATUS", [Step::Hang]));
    let assert_not_ready = |plexus: &Plexus<'_>, part: &str| {
        plexus.runtime.status().expect_error(50, &[part]);
    };
    assert_not_ready(&plexus, "took longer");
    fs::remove_file(node.bin_dir().join("main")).expect("remove the plugin");
    assert_not_ready(&plexus, "\"main\" is in none");
    fs::remove_file(node.scratch().join("default.conflist")).expect("remove the network");
    plexus.daemon.wait_log("not ready: no default network");
    assert_not_ready(&plexus, "default.conflist");
    plexus.daemon.kill();
    plexus.runtime = plexus.runtime_with(json!({"daemonWaitStatus": "10ms"}));
    assert_not_ready(&plexus, "plexusd");
}

#[test]
fn readyz_says_what_the_last_status_found() {
    let node = node!();
    let mut plexus = start_with_gc(&node, json!({}));
    fs::remove_file(node.bin_dir().join("main")).expect("remove the plugin");
    plexus.daemon.wait_ready();
    plexus.runtime.status().expect_code(50);
    plexus.daemon.wait_not_ready("\"main\" is in none");
    plexus.daemon.wait_log("not ready: STATUS: ");
    node.plugin("main", &attaches());
    node.forget_calls();
    for _ in 0..3 {
        assert_eq!(plexus.daemon.status_of("/readyz"), 500);
    }
    assert_eq!(plexus.calls(), [""; 0], "probes run no plugin");
    plexus.runtime.status().expect_success();
    plexus.daemon.wait_ready();
    plexus.daemon.wait_log("ready again");
}

#[test]
fn networks_before_version_1_1_get_neither_status_nor_gc() {
    rows!("R-065");
    let node = node!();
    let plexus = Plexus::start(&node);
    let script = Script::new().fails("STATUS", 50, "?").fails("GC", 50, "?");
    node.plugin("main", &script);
    plexus.runtime.status().expect_success();
    plexus.runtime.gc(&[]).expect_success();
    assert_eq!(plexus.calls(), [""; 0]);
}
