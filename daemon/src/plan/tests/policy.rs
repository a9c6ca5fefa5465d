use std::collections::BTreeSet;

use plexus_api::cni::Code;
use plexus_api::selection::{PortMapping, Selection};

use crate::config::AllowedPluginTypes;

use super::{assert_refused, input, network, plan, select};

#[test]
fn isolation_covers_selected_networks_and_the_default_network() {
    let mut input = input();
    input.policy.namespace_isolation = true;
    for allowed in ["ns/own", "default/shared"] {
        select(&mut input, allowed, r#"{"type":"x"}"#, |_| {});
    }
    assert!(plan(&input).is_ok());
    let mut other = input.clone();
    select(&mut other, "other/b", r#"{"type":"x"}"#, |_| {});
    assert_refused(
        &other,
        Code::Forbidden,
        &["other/b", "\"ns\"", "globalNamespaces"],
    );
    other.policy.namespace_isolation = false;
    assert!(plan(&other).is_ok());
    input.default_network = network("other/b", r#"{"type":"x"}"#);
    assert!(
        plan(&input).is_ok(),
        "the node's own configuration is not restricted"
    );
    input.default_selection = Some(Selection::default());
    assert_refused(&input, Code::Forbidden, &["other/b"]);
}

#[test]
fn only_listed_namespaces_may_replace_the_default_network() {
    let mut input = input();
    input.default_network = network("ns/b", r#"{"type":"x"}"#);
    input.default_selection = Some(Selection::default());
    assert!(plan(&input).is_ok());
    input.policy.default_network_namespaces = Some(BTreeSet::from(["kube-system".to_owned()]));
    assert_refused(
        &input,
        Code::Forbidden,
        &["ns/b", "defaultNetworkNamespaces"],
    );
    input.default_network = network("kube-system/b", r#"{"type":"x"}"#);
    assert!(plan(&input).is_ok());
    select(&mut input, "ns/c", r#"{"type":"x"}"#, |_| {});
    assert!(
        plan(&input).is_ok(),
        "the restriction is for the default network only"
    );
}

#[test]
fn only_pods_of_listed_namespaces_may_request_port_mappings() {
    let mapping = PortMapping {
        host_port: 10250,
        container_port: 80,
        protocol: "tcp".to_owned(),
        host_ip: String::new(),
    };
    let with_mapping = Selection {
        port_mappings: vec![mapping],
        ..Selection::default()
    };
    let mut input = input();
    select(&mut input, "ns/b", r#"{"type":"x"}"#, |_| {});
    input.policy.port_mapping_namespaces = Some(BTreeSet::from(["ingress".to_owned()]));
    assert!(plan(&input).is_ok(), "nothing is requested");
    let mut selected = input.clone();
    selected.selected[0].selection = with_mapping.clone();
    let mut default_network = input;
    default_network.default_selection = Some(with_mapping);
    for mut input in [selected, default_network] {
        assert_refused(
            &input,
            Code::Forbidden,
            &["\"ns\"", "portMappingNamespaces"],
        );
        input.policy.port_mapping_namespaces = Some(BTreeSet::from(["ns".to_owned()]));
        assert!(plan(&input).is_ok());
        input.policy.port_mapping_namespaces = None;
        assert!(plan(&input).is_ok(), "as with Multus");
    }
}

#[test]
fn plugin_types_of_definitions_can_be_restricted_including_ipam() {
    let mut input = input();
    input.policy.allowed_plugin_types = Some(AllowedPluginTypes::everywhere(["macvlan", "static"]));
    select(
        &mut input,
        "ns/a",
        r#"{"type":"macvlan","ipam":{"type":"static"}}"#,
        |_| {},
    );
    assert!(
        plan(&input).is_ok(),
        "the restriction is for the selected networks only"
    );
    for kind in [
        r#"{"type":"bridge"}"#,
        r#"{"type":"macvlan","ipam":{"type":"dhcp"}}"#,
        r#"{"type":"macvlan","IPAM":{"type":"dhcp"}}"#,
        r#"{"type":"macvlan","ipam":{"type":"static"},"Ipam":{"type":"dhcp"}}"#,
        r#"{"type":"macvlan","ipam":{"type":"static","Type":"dhcp"}}"#,
        r#"{"type":"macvlan","ipam":{"type":"dhcp","type":"static"}}"#,
        r#"{"type":"macvlan","ipam":{"type":"dhcp","x":1e400}}"#,
        r#"{"type":"macvlan","ipam":{"type":"dhcp","\ud800":"\udc00"}}"#,
        r#"{"type":"macvlan","ipam":[{"type":"dhcp"}]}"#,
        r#"{"type":"macvlan","ipam":{"type":"dhcp"},"IPAM":null}"#,
        r#"{"type":"macvlan","delegate":{"type":"static","ipam":{"type":"dhcp"}}}"#,
        r#"{"type":"macvlan","Type":"bridge"}"#,
        r#"{"plugins":[{"type":"macvlan"},{"type":"tuning"}]}"#,
    ] {
        let mut input = input.clone();
        select(&mut input, "ns/b", kind, |_| {});
        assert_refused(
            &input,
            Code::Forbidden,
            &["ns/b", "allowedPluginTypes", "macvlan, static"],
        );
    }
}

#[test]
fn plugin_types_can_be_restricted_for_single_namespaces() {
    let mut input = input();
    input.policy.allowed_plugin_types = Some(
        AllowedPluginTypes::everywhere(["macvlan"])
            .with("infra", ["bridge", "macvlan"])
            .with("closed", []),
    );
    for (network, kind, allowed) in [
        ("ns/a", "macvlan", true),
        ("ns/a", "bridge", false),
        ("infra/a", "bridge", true),
        ("infra/a", "ptp", false),
        ("closed/a", "macvlan", false),
    ] {
        let mut input = input.clone();
        let config = format!(r#"{{"type":"{kind}"}}"#);
        select(&mut input, network, &config, |_| {});
        assert_eq!(plan(&input).is_ok(), allowed, "{network} {kind}");
        // The namespace of the definition counts, not that of the pod.
        input.default_network = input.selected.remove(0).network;
        input.default_selection = Some(Selection::default());
        assert_eq!(plan(&input).is_ok(), allowed, "{network} {kind}");
    }
}

#[test]
fn a_meta_plugin_is_refused() {
    for kind in [
        r#"{"type":"plexus"}"#,
        r#"{"type":"multus"}"#,
        r#"{"plugins":[{"type":"x"},{"type":"multus-shim"}]}"#,
        r#"{"type":"flannel","delegate":{"type":"plexus"}}"#,
        r#"{"type":"x","deep":[{"er":{"type":"multus"}}]}"#,
    ] {
        let mut input = input();
        select(&mut input, "ns/b", kind, |_| {});
        assert_refused(&input, Code::InvalidConfig, &["ns/b", "call Plexus again"]);
        input.default_network = input.selected.remove(0).network;
        assert_refused(&input, Code::InvalidConfig, &["ns/b"]);
    }
}
