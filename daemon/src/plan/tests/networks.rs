use std::sync::Arc;

use plexus_api::cni::Code;
use plexus_api::json::RawMap;
use plexus_api::rows;

use super::{assert_refused, input, macvlan, names, network, plan, select};

#[test]
fn the_order_is_default_network_common_networks_selected_networks() {
    rows!("K-060", "K-048");
    let mut input = input();
    input
        .common_networks
        .push(network("kube-system/all", r#"{"type":"ptp"}"#));
    macvlan(&mut input, |_| {});
    macvlan(&mut input, |_| {});
    let plan = plan(&input).expect("a plan");
    let networks: Vec<_> = plan
        .attachments
        .iter()
        .map(|a| (a.network.as_str(), a.default))
        .collect();
    assert_eq!(
        networks,
        [
            ("cluster", true),
            ("kube-system/all", false),
            ("ns/net-a", false),
            ("ns/net-a", false)
        ]
    );
    assert_eq!(names(&plan), ["eth0", "net1", "net2", "net3"]);
    assert!(plan.warnings.is_empty());
}

#[test]
fn the_number_of_networks_is_limited() {
    let mut input = input();
    input
        .common_networks
        .push(network("kube-system/all", r#"{"type":"ptp"}"#));
    for _ in 0..63 {
        macvlan(&mut input, |_| {});
    }
    assert_eq!(plan(&input).expect("a plan").attachments.len(), 65);
    macvlan(&mut input, |_| {});
    assert_refused(&input, Code::InvalidAnnotation, &["65 networks", "64"]);
}

#[test]
fn the_sum_of_the_configurations_is_limited() {
    let config = |kib: usize| format!(r#"{{"type":"x","note":"{}"}}"#, "x".repeat(kib << 10));
    let mut input = input();
    for _ in 0..60 {
        select(&mut input, "ns/large", &config(128), |_| {});
    }
    assert_eq!(plan(&input).expect("a plan").attachments.len(), 61);
    select(&mut input, "ns/larger", &config(600), |_| {});
    let parts = ["9 MiB in sum", "may have 8 MiB", "\"ns/larger\"", "601 KiB"];
    assert_refused(&input, Code::InvalidAnnotation, &parts);
}

#[test]
fn the_values_of_the_pod_count_once_for_each_plugin() {
    let plugins = vec![r#"{"type":"x"}"#; 32].join(",");
    let config = format!(r#"{{"plugins":[{plugins}]}}"#);
    let note = |kib: usize| {
        let note = serde_json::value::to_raw_value(&"x".repeat(kib << 10)).expect("JSON");
        RawMap::from([("note".to_owned(), note)])
    };
    let mut input = input();
    select(&mut input, "ns/chain", &config, |s| s.cni_args = note(240));
    plan(&input).expect("a plan");
    select(&mut input, "ns/chain", &config, |s| s.cni_args = note(20));
    assert_refused(&input, Code::InvalidAnnotation, &["may have 8 MiB"]);
}

#[test]
fn the_attachments_of_a_network_share_its_configuration() {
    let mut input = input();
    macvlan(&mut input, |_| {});
    let network = input.selected[0].network.clone();
    macvlan(&mut input, |s| {
        s.device_id = Some("0000:03:02.0".to_owned());
    });
    input.selected[1].network = network.clone();
    let plan = plan(&input).expect("a plan");
    assert!(Arc::ptr_eq(&plan.attachments[1].config, &network.config));
    assert!(!Arc::ptr_eq(&plan.attachments[2].config, &network.config));
}

#[test]
fn the_same_network_twice_yields_two_attachments_with_different_interfaces() {
    rows!("K-049");
    let mut input = input();
    macvlan(&mut input, |_| {});
    macvlan(&mut input, |_| {});
    let plan = plan(&input).expect("a plan");
    let tuple = |i: usize| {
        (
            plan.attachments[i].config.name.clone(),
            plan.attachments[i].ifname.clone(),
        )
    };
    assert_eq!(tuple(1).0, tuple(2).0);
    assert_ne!(tuple(1).1, tuple(2).1);
}
