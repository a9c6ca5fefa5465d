use plexus_api::cni::{Defaults, NetworkConfig, Version};

use super::*;

fn attachment(name: &str, selected: bool, plugins: &str) -> Attachment {
    let text = format!(r#"{{"name":"{name}","plugins":[{plugins}]}}"#);
    let defaults = Defaults {
        name: None,
        version: Version::LATEST,
    };
    Attachment {
        default: !selected,
        selected,
        ..Attachment::new(
            format!("default/{name}"),
            "net1",
            NetworkConfig::parse(&text, defaults).expect("a network"),
        )
    }
}

#[test]
fn only_networks_that_the_pod_selects_have_groups() {
    let default = attachment("pods", false, r#"{"type":"bridge"}"#);
    assert_eq!(
        Group::of("ns", std::slice::from_ref(&default)),
        BTreeSet::new()
    );
    // Go reads any spelling of `ipam`.
    let selected = attachment(
        "lan",
        true,
        r#"{"type":"macvlan","IPAM":{"type":"whereabouts"}},{"type":"tuning"}"#,
    );
    let expected = [
        Group::Selecting,
        Group::Namespace("ns".to_owned()),
        Group::Network("lan".to_owned()),
        Group::PluginType("macvlan".to_owned()),
        Group::PluginType("tuning".to_owned()),
        Group::PluginType("whereabouts".to_owned()),
    ];
    assert_eq!(Group::of("ns", &[default, selected]), expected.into());
}

#[test]
fn every_group_may_hold_a_permit_and_none_may_hold_all() {
    let network = Group::Network("a".to_owned());
    for total in 1..=64 {
        let (one, all) = (network.share(total), Group::Selecting.share(total));
        assert!(one >= 1 && all >= one, "{total}");
        assert!(total == 1 || (2 * one <= total && all < total), "{total}");
    }
    assert_eq!((network.share(16), Group::Selecting.share(16)), (8, 12));
}
