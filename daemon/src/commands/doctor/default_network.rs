//! The networks of every pod, and their plugins.

use plexus_api::cni::{NetworkConfig, PluginConfig};

use super::facts::Facts;
use super::finding::{Finding, Level, Outcome};
use crate::gather::default_network::FoundNetwork;
use crate::gather::default_networks;
use crate::model::Network;

/// The default network and the other networks of every pod can be read.
pub(super) async fn check(facts: &mut Facts) -> Outcome {
    let settings = &facts.config.settings;
    let found = FoundNetwork::find(settings, &facts.store).await;
    let broken = found.broken.iter().map(|error| {
        Finding::warning("default network", format!("a file was skipped: {error}"))
            .with_remedy("correct or remove the file")
    });
    let mut findings: Vec<_> = broken.collect();
    match default_networks(&facts.store, &found.default_network, settings).await {
        Ok(networks) => facts.networks = networks,
        Err(error) => findings.push(failure(&found, &error.to_string())),
    }
    facts.default_network = Some(found);
    findings.into()
}

fn failure(found: &FoundNetwork, error: &str) -> Finding {
    let subject = match &found.file {
        Some(file) => file.display().to_string(),
        None => "node".to_owned(),
    };
    Finding::failed(subject, error).with_remedy(
        "install the default network of the node, or repair its file; pods cannot start without it",
    )
}

/// The plugins of the networks of every pod are installed, and support their versions.
pub(super) async fn plugins(facts: &mut Facts) -> Outcome {
    let mut findings = Vec::new();
    for network in facts.networks.clone() {
        findings.extend(plugins_of(facts, &network).await);
    }
    findings.into()
}

async fn plugins_of(facts: &mut Facts, network: &Network) -> Vec<Finding> {
    let Some(plugins) = &facts.plugins else {
        return Vec::new();
    };
    let subject = format!("network {:?}", network.name);
    let call = facts.plugin_call(plugins);
    if let Err(error) = plugins.delegates.find(&call, &network.config).await {
        return vec![Finding::failed(subject, error.msg)];
    }
    let problems = unsupported_versions(facts, &network.config).await;
    let findings = problems.into_iter();
    findings
        .map(|(level, text)| Finding::new(level, &subject, text))
        .collect()
}

/// The plugins of a network that do not support its version. Each plugin is asked once.
pub(super) async fn unsupported_versions(
    facts: &mut Facts,
    network: &NetworkConfig,
) -> Vec<(Level, String)> {
    let Some(plugins) = &facts.plugins else {
        return Vec::new();
    };
    let mut kinds = network.plugins.iter().map(PluginConfig::kind);
    if kinds.any(|kind| !facts.versions.contains_key(&kind)) {
        let call = facts.plugin_call(plugins);
        let versions = plugins.delegates.versions(&call, network).await;
        facts.versions.extend(versions);
    }
    let version = network.cni_version.to_string();
    let judge = |kind: String| match facts.versions.get(&kind)? {
        Ok(supported) if supported.contains(&version) => None,
        Ok(supported) => {
            let text = format!(
                "plugin {kind:?} supports the versions {}, but the network has cniVersion {version}; set a version that \
                 all its plugins support, or update the plugin",
                supported.join(", ")
            );
            Some((Level::Failed, text))
        }
        Err(error) => {
            let text = format!("plugin {kind:?} does not answer VERSION: {}", error.msg);
            Some((Level::Warning, text))
        }
    };
    let kinds = network.plugins.iter().map(PluginConfig::kind);
    kinds.filter_map(judge).collect()
}
