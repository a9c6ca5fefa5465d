mod additions;
mod arguments;
mod devices;
mod names;
mod network_names;
mod networks;
mod policy;
mod routes;

use std::collections::BTreeSet;

use plexus_api::cni::{CniArgs, Code, Defaults, NetworkConfig, Version};
use plexus_api::json::RawMap;
use plexus_api::selection::Selection;

use super::{Plan, PlanInput, Policy, SelectedNetwork, plan};
use crate::model::{Devices, Network, PodRef};

fn config(text: &str) -> NetworkConfig {
    let defaults = Defaults {
        name: Some("test"),
        version: Version::V1_0_0,
    };
    NetworkConfig::parse(text, defaults).expect("a network configuration")
}

fn network(name: &str, text: &str) -> Network {
    let namespace = name
        .split_once('/')
        .map(|(namespace, _)| namespace.to_owned());
    Network {
        name: name.to_owned(),
        namespace,
        resource_name: None,
        config: config(text).into(),
    }
}

/// The input for a pod of namespace `ns` with the default network `cluster`.
fn input() -> PlanInput {
    PlanInput {
        ifname: "eth0".to_owned(),
        container_id: "c1".to_owned(),
        links: BTreeSet::from(["lo".to_owned()]),
        pod: PodRef {
            namespace: "ns".to_owned(),
            name: "pod".to_owned(),
            uid: "uid".to_owned(),
            is_static: false,
        },
        cni_args: CniArgs::parse("K8S_POD_NAMESPACE=ns;FOO=1").expect("args"),
        runtime_config: RawMap::new(),
        default_network: network("cluster", r#"{"type":"bridge"}"#),
        default_selection: None,
        common_networks: Vec::new(),
        selected: Vec::new(),
        auxiliary_chain: None,
        devices: Devices::new(),
        policy: Policy {
            strict: false,
            namespace_isolation: false,
            global_namespaces: BTreeSet::from(["default".to_owned()]),
            default_network_namespaces: None,
            port_mapping_namespaces: None,
            allowed_plugin_types: None,
        },
        network_names: None,
    }
}

fn select(input: &mut PlanInput, name: &str, text: &str, change: impl FnOnce(&mut Selection)) {
    let network = network(name, text);
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    let mut selection = Selection {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        ..Selection::default()
    };
    change(&mut selection);
    input.selected.push(SelectedNetwork { selection, network });
}

fn macvlan(input: &mut PlanInput, change: impl FnOnce(&mut Selection)) {
    select(input, "ns/net-a", r#"{"type":"macvlan"}"#, change);
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.attachments
        .iter()
        .map(|attachment| attachment.ifname.as_str())
        .collect()
}

/// Asserts that the plan is refused with this code and a message with these parts.
fn assert_refused(input: &PlanInput, code: Code, parts: &[&str]) {
    let error = plan(input).expect_err("refused");
    assert!(error.is(code), "{error}");
    for part in parts {
        assert!(error.msg.contains(part), "{error} should name {part:?}");
    }
}
