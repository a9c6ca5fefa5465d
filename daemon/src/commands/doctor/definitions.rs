//! The network-attachment-definitions: their configurations, their plugins, and the links that they
//! name.
//!
//! A definition may be meant for other nodes. What is wrong with it on this node is a failure only if
//! a pod of this node selects it.

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_api::cni::{NetworkConfig, PluginConfig};

use super::default_network::unsupported_versions;
use super::facts::Facts;
use super::finding::{Finding, Level, Outcome};
use super::pods::{attached_pods, has_ended};
use crate::cluster::Definition;
use crate::commands::lint::definition_errors;
use crate::gather::network_of_definition;
use crate::ledger::Ledger;
use crate::model::{Attachment, Network};
use crate::netns::Netns;

/// The plugins whose `master` is a link of the node.
const ON_MASTER: [&str; 4] = ["ipvlan", "ipoib", "macvlan", "vlan"];

/// Each definition has a configuration that its plugins accept, and its plugins are installed.
pub(super) async fn check(facts: &mut Facts) -> Outcome {
    let mut definitions = facts.store.definitions();
    definitions.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    facts.selected = selected(facts).await;
    let mut findings: Vec<_> = definition_errors(&definitions)
        .into_iter()
        .map(|(namespace, name, text)| {
            let name = (namespace, name);
            finding(facts, &name, text)
                .with_remedy("`plexusd lint` shows the place in the manifest")
        })
        .collect();
    let refused: BTreeSet<_> = findings
        .iter()
        .map(|finding| finding.subject.clone())
        .collect();
    for definition in definitions {
        let name = (definition.namespace.clone(), definition.name.clone());
        if refused.contains(&subject(&name)) {
            continue;
        }
        match check_definition(facts, &definition, &name).await {
            Ok((network, found)) => {
                findings.extend(found);
                facts.of_definitions.push((name, network));
            }
            Err(found) => findings.push(found),
        }
    }
    findings.into()
}

async fn check_definition(
    facts: &mut Facts,
    definition: &Arc<Definition>,
    name: &(String, String),
) -> Result<(Network, Vec<Finding>), Finding> {
    let (settings, store) = (&facts.config.settings, &facts.store);
    let network = network_of_definition(definition, settings, store).await;
    let network = network.map_err(|error| finding(facts, name, error.to_string()))?;
    let Some(plugins) = &facts.plugins else {
        return Ok((network, Vec::new()));
    };
    let call = facts.plugin_call(plugins);
    let attachment = Attachment::new(&network.name, "net1", network.config.clone());
    let installed = plugins.delegates.check_installed(&call, &attachment).await;
    installed.map_err(|error| finding(facts, name, error.msg))?;
    let problems = unsupported_versions(facts, &network.config).await;
    let findings = problems.into_iter().map(|(level, text)| {
        let found = finding(facts, name, text);
        Finding {
            level: found.level.min(level),
            ..found
        }
    });
    let findings = findings.collect();
    Ok((network, findings))
}

fn subject((namespace, name): &(String, String)) -> String {
    format!("definition {namespace}/{name}")
}

fn finding(facts: &Facts, name: &(String, String), text: impl Into<String>) -> Finding {
    let level = if facts.selected.contains(name) {
        Level::Failed
    } else {
        Level::Warning
    };
    let text = text.into();
    let label = format!("NetworkAttachmentDefinition {}/{}: ", name.0, name.1);
    let text = text.strip_prefix(&label).unwrap_or(&text);
    Finding::new(level, subject(name), text)
}

/// The namespaces and names of the definitions that pods of this node select, without pods that have
/// ended.
async fn selected(facts: &Facts) -> BTreeSet<(String, String)> {
    let attached = attached_pods(facts);
    let mut selected = BTreeSet::new();
    for pod in facts.store.pods() {
        let definitions = pod.selected_definitions(&facts.settings().multus_namespace);
        if definitions.iter().all(|name| selected.contains(name)) {
            continue;
        }
        let name = format!("{}/{}", pod.namespace, pod.name);
        if attached.contains(&name) || !has_ended(facts, &pod).await {
            selected.extend(definitions);
        }
    }
    selected
}

/// The links of the node that networks name exist.
pub(super) async fn links(facts: &Facts) -> Outcome {
    let mut netns = match Netns::own().await {
        Ok(netns) => netns,
        Err(error) => return Some(Finding::failed("node", error.to_string())).into(),
    };
    let attached = attached_networks(facts);
    let mut findings = Vec::new();
    let of_pods = facts.networks.iter().map(|network| (None, network));
    let of_definitions = facts.of_definitions.iter();
    let of_definitions = of_definitions.map(|(name, network)| (Some(name), network));
    for (name, network) in of_pods.chain(of_definitions) {
        for (key, link) in named_links(&network.config) {
            // A device is in the pod that has it.
            if key == "device" && attached.contains(&network.name) {
                continue;
            }
            let text = match netns.has_link(&link).await {
                Ok(true) => continue,
                Ok(false) => format!("{key} {link:?} is not a link of this node"),
                Err(error) => error.to_string(),
            };
            let found = match name {
                Some(name) => finding(facts, name, text),
                None => Finding::failed(format!("network {:?}", network.name), text),
            };
            findings.push(found.with_remedy(
                "create the link, correct its name, or keep pods with this network off this node",
            ));
        }
    }
    findings.into()
}

/// The networks of all records.
fn attached_networks(facts: &Facts) -> BTreeSet<String> {
    let records = Ledger::summaries(&facts.settings().state_dir);
    let records = records.into_iter().flatten().flatten();
    records
        .flat_map(|record| {
            let attachments = record.planned.attachments.iter();
            attachments
                .map(|one| one.network.clone())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The links of the node that the plugins of a network need, with the keys that name them.
fn named_links(config: &NetworkConfig) -> Vec<(&'static str, String)> {
    let link = |plugin: &PluginConfig, key: &'static str| {
        let name: String = plugin.get(key)?;
        (!name.is_empty()).then_some((key, name))
    };
    let of_plugin = |plugin: &PluginConfig| match plugin.kind().as_str() {
        kind if ON_MASTER.contains(&kind) => {
            let in_container = plugin.get("linkInContainer").unwrap_or(false);
            link(plugin, "master").filter(|_| !in_container)
        }
        "host-device" => link(plugin, "device"),
        _ => None,
    };
    config.plugins.iter().filter_map(of_plugin).collect()
}

#[cfg(test)]
mod tests {
    use plexus_api::cni::{Defaults, Version};

    use super::*;

    #[test]
    fn only_links_of_the_node_are_looked_up() {
        let defaults = Defaults {
            name: Some("x"),
            version: Version::V1_0_0,
        };
        for (plugin, expected) in [
            (
                r#"{"type":"macvlan","master":"eth0"}"#,
                Some(("master", "eth0")),
            ),
            (r#"{"type":"macvlan"}"#, None),
            (
                r#"{"type":"vlan","master":"eth0","linkInContainer":true}"#,
                None,
            ),
            (
                r#"{"type":"host-device","device":"eth1"}"#,
                Some(("device", "eth1")),
            ),
            (r#"{"type":"host-device","pciBusID":"0000:00:1f.6"}"#, None),
            (r#"{"type":"bridge","bridge":"br0"}"#, None),
            (r#"{"type":"other","master":"eth0"}"#, None),
        ] {
            let config = NetworkConfig::parse(plugin, defaults).expect(plugin);
            let links = named_links(&config);
            let links: Vec<_> = links
                .iter()
                .map(|(key, name)| (*key, name.as_str()))
                .collect();
            assert_eq!(links, Vec::from_iter(expected), "{plugin}");
        }
    }
}
