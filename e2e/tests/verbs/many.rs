//! Pods with many networks: how many there may be, and how their DEL shares its time.

use plexus_api::rows;
use plexus_e2e::{Pod, Step, node};
use serde_json::json;

use crate::plexus::{Plexus, attaches, target};

/// `a` so many times.
fn networks(count: usize) -> String {
    vec!["a"; count].join(",")
}

#[test]
fn a_pod_may_have_64_networks_and_no_more() {
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let sandbox = node.sandbox("pod");
    let too_many = target(&sandbox, &Pod::new("p").with_networks(networks(65)));
    let answer = plexus.runtime.add(&too_many);
    let msg = answer.expect_code(105);
    assert!(
        msg.contains("pod default/p") && msg.contains("65") && msg.contains("64"),
        "{msg}"
    );
    assert_eq!(plexus.calls(), [] as [&str; 0], "before anything runs");
    let target = target(&sandbox, &Pod::new("p").with_networks(networks(64)));
    plexus.runtime.add(&target).result();
    plexus.runtime.del(&target).expect_silence();
    assert_eq!(plexus.calls().len(), 2 * 65);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_del_ends_in_its_time_whatever_hangs_and_names_what_had_no_turn() {
    rows!("C-27");
    let node = node!();
    let plexus = Plexus::configured(&node, json!({"delTimeout": "1s"}));
    plexus.network("a", &attaches());
    let sandbox = node.sandbox("pod");
    let target = target(&sandbox, &Pod::new("p").with_networks("a"));
    plexus.runtime.add(&target).result();
    node.plugin("a", &attaches().on("DEL", [Step::Hang]));
    node.forget_calls();
    let answer = plexus.runtime.del(&target);
    let msg = answer.expect_code(11);
    assert!(
        msg.contains("interface \"eth0\": the other attachments have used up the 1s"),
        "{msg}"
    );
    assert_eq!(plexus.calls(), ["DEL a net1"], "{msg}");
    node.plugin("a", &attaches());
    plexus.runtime.del(&target).expect_silence();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn an_add_ends_within_its_time_limit_if_a_plugin_hangs() {
    rows!("C-27");
    let node = node!();
    let plexus = Plexus::configured(&node, json!({"addTimeout": "1s"}));
    plexus.network("a", &attaches().on("ADD", [Step::Hang]));
    let (sandbox, target) = plexus.sandbox("p", "a");
    let answer = plexus.runtime.add(&target);
    let msg = answer.expect_code(11);
    // Not the limit of a single plugin, which is 30 s.
    assert!(
        msg.contains("took longer than") && !msg.contains("30s"),
        "{msg}"
    );
    assert_eq!(
        plexus.calls(),
        ["ADD main eth0", "ADD a net1", "DEL a net1", "DEL main eth0"]
    );
    plexus.assert_nothing_left(&sandbox);
}
