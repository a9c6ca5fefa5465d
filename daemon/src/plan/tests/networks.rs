use plexus_api::cni::Code;
use plexus_api::rows;

use super::{assert_refused, input, macvlan, names, network, plan};

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
