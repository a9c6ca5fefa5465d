//! A kubelet that rejects queries, does not answer, or restarts.

use std::time::{Duration, Instant};

use plexus_api::rows;
use plexus_e2e::kubelet::Faults;
use plexus_e2e::{Plexus, node};
use serde_json::json;

use super::{VF, add, devices, pod, target};
use crate::assert_error;

#[test]
fn a_query_that_the_rate_limit_rejects_is_retried() {
    rows!("D-046");
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.device_networks(&[("a", VF)]);
    kubelet.run(pod("p", &["v1"]));
    let reject = |rate_limited| {
        kubelet.set_faults(Faults {
            rate_limited,
            ..Faults::default()
        });
    };
    reject(3);
    add(&plexus, "p", "a").result();
    assert_eq!(kubelet.methods(), ["Get"; 4]);
    assert_eq!(devices(&plexus), ["a v1"]);
    reject(usize::MAX);
    let target = target(&plexus, "p", "a");
    let runtime = plexus.runtime_with(json!({"addTimeout": "5s"}));
    let socket = kubelet.socket().display().to_string();
    let parts = [
        "ADD pod default/p: ",
        &socket,
        "Get: rejected by rate limit; a retry can",
    ];
    assert_error(&runtime.add(&target), 11, &parts);
}

#[test]
fn a_pod_that_kubelet_does_not_know_is_retried_on_add_and_del_makes_no_request() {
    rows!("D-048");
    let node = node!();
    let (mut kubelet, mut plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.device_networks(&[("a", VF)]);
    let target = target(&plexus, "p", "a");
    let runtime = plexus.runtime_with(json!({"addTimeout": "5s"}));
    let unknown = "Get: pod p in namespace default not found";
    assert_error(&runtime.add(&target), 11, &[unknown, "see kubelet's log"]);
    plexus.runtime.del(&target).expect_success();
    let add = plexus.runtime.start("ADD", &target);
    kubelet.wait_calls(kubelet.methods().len() + 1);
    kubelet.run(pod("p", &["v1"]));
    add.wait().result();
    assert_eq!(devices(&plexus), ["a v1"]);
    kubelet.stop();
    let calls = kubelet.calls();
    plexus.daemon.restart();
    plexus.runtime.check(&target).expect_success();
    plexus.runtime.del(&target).expect_success();
    assert_eq!(kubelet.calls(), calls);
}

#[test]
fn kubelet_may_restart_between_two_pods_and_during_an_add() {
    rows!("D-049");
    let node = node!();
    let (mut kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.device_networks(&[("a", VF)]);
    kubelet.run(pod("p", &["v1"]));
    add(&plexus, "p", "a").result();
    kubelet.restart();
    add(&plexus, "p", "a").result();
    kubelet.set_faults(Faults {
        hangs: true,
        ..Faults::default()
    });
    let target = target(&plexus, "p", "a");
    let add = plexus.runtime.start("ADD", &target);
    kubelet.wait_calls(3);
    kubelet.set_faults(Faults::default());
    kubelet.restart();
    add.wait().result();
    assert_eq!(devices(&plexus), ["a v1"; 3]);
}

#[test]
fn a_socket_without_kubelet_is_an_error_that_names_the_socket() {
    rows!("D-049");
    let node = node!();
    let (mut kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.device_networks(&[("a", VF)]);
    kubelet.stop();
    let target = target(&plexus, "p", "a");
    let runtime = plexus.runtime_with(json!({"addTimeout": "5s"}));
    let socket = kubelet.socket().display().to_string();
    assert_error(&runtime.add(&target), 11, &[&socket, "a retry can succeed"]);
}

#[test]
fn a_kubelet_that_does_not_answer_fails_the_add_after_ten_seconds() {
    rows!("D-049");
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.device_networks(&[("a", VF)]);
    kubelet.run(pod("p", &["v1"]));
    kubelet.set_faults(Faults {
        hangs: true,
        ..Faults::default()
    });
    let start = Instant::now();
    let socket = kubelet.socket().display().to_string();
    assert_error(
        &add(&plexus, "p", "a"),
        11,
        &[&socket, "Get: no answer in time"],
    );
    assert_eq!(kubelet.methods(), ["Get"]);
    // `addTimeout` is 90 seconds.
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_mins(1), "{elapsed:?}");
}

#[test]
fn an_add_whose_caller_is_gone_does_not_wait_for_kubelet() {
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.device_networks(&[("a", VF)]);
    kubelet.set_faults(Faults {
        hangs: true,
        ..Faults::default()
    });
    let (sandbox, target) = plexus.sandbox("p", "a");
    let add = plexus.runtime.start("ADD", &target);
    kubelet.wait_calls(1);
    add.kill();
    // A DEL that had to wait for kubelet would fail.
    let runtime = plexus.runtime_with(json!({"delTimeout": "5s"}));
    runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}
