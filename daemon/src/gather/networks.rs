//! Look-up of networks among the definitions and on the node's disk.

use std::path::Path;
use std::sync::Arc;

use plexus_api::cni::NetworkConfig;
use serde::Serialize;

use super::disk::{self, blocking, on_disk};
use super::error::GatherError;
use super::request::LookupDeadlines;
use crate::cluster::kube::ApiReader;
use crate::cluster::{Definition, MAX_RESOURCE_NAME, Store};
use crate::config::Settings;
use crate::model::Network;

/// Looks up networks. Waits for a definition that is not known yet, and finally reads the
/// definition from the API server once.
#[derive(Debug)]
pub(super) struct Lookup<'a> {
    pub(super) store: &'a Store,
    pub(super) api: Option<&'a ApiReader>,
    pub(super) settings: &'a Settings,
    pub(super) deadlines: LookupDeadlines,
}

impl<'a> Lookup<'a> {
    /// A look-up that neither waits nor reads from the API server.
    pub(super) fn without_waiting(store: &'a Store, settings: &'a Settings) -> Self {
        Self {
            store,
            api: None,
            settings,
            deadlines: LookupDeadlines::now(),
        }
    }

    /// The default network that `clusterNetwork` or `delegates` names.
    pub(super) async fn default_network(&self) -> Result<Network, GatherError> {
        const KEY: &str = "clusterNetwork";
        if let Some(name) = &self.settings.cluster_network {
            return match self.by_any_form(name).await {
                Err(error) if error.is_missing() => Err(GatherError::DefaultNetworkMissing {
                    key: KEY,
                    source: Box::new(error),
                }),
                network => network.map_err(|error| error.context(KEY)),
            };
        }
        match self.settings.delegates.first() {
            Some(first) => delegate(0, first),
            None => Err(GatherError::NoDefaultNetworkConfigured),
        }
    }

    /// The networks of `delegates` after the first one. Every pod gets them, also if it replaces
    /// its default network.
    pub(super) fn further_delegates(&self) -> Vec<Result<Network, GatherError>> {
        if self.settings.cluster_network.is_some() {
            return Vec::new();
        }
        let delegates = self.settings.delegates.iter().enumerate().skip(1);
        delegates
            .map(|(index, config)| delegate(index, config))
            .collect()
    }

    /// The networks of every pod outside the system namespaces: `defaultNetworks` (K-068). One that
    /// is missing or invalid does not affect the others.
    pub(super) async fn common_networks(&self) -> Vec<Result<Network, GatherError>> {
        let mut networks = Vec::new();
        for name in &self.settings.default_networks {
            let network = self.by_any_form(name).await;
            networks.push(network.map_err(|error| error.context("defaultNetworks")));
        }
        networks
    }

    /// Waits for the definition, and finally reads it from the API server.
    pub(super) async fn definition(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Definition>>, GatherError> {
        let watched = self
            .store
            .wait_definition(namespace, name, self.deadlines.watch)
            .await;
        match (watched, self.api) {
            (None, Some(api)) => self.read(api, namespace, name).await,
            (watched, _) => Ok(watched),
        }
    }

    async fn read(
        &self,
        api: &ApiReader,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Definition>>, GatherError> {
        let definition = api.definition(namespace, name, self.deadlines.read).await;
        let definition = definition.map_err(|error| {
            let object = format!("network-attachment-definition {namespace}/{name}");
            GatherError::api(object, error)
        })?;
        Ok(definition.map(Arc::new))
    }

    /// A definition in `multusNamespace`, a network in `confDir`, a directory or a file, in this
    /// order (K-061).
    async fn by_any_form(&self, name: &str) -> Result<Network, GatherError> {
        if name.contains('/') {
            return self.by_disk_source(name).await;
        }
        let namespace = &self.settings.multus_namespace;
        let definition = match self.api {
            // A network on disk must not be used before it is known that no definition has the
            // name.
            Some(api) if !self.store.wait_definitions(self.deadlines.watch).await => {
                self.read(api, namespace, name).await?
            }
            _ => self.store.definition(namespace, name),
        };
        let Some(definition) = definition else {
            let network = self.by_disk_source(name).await;
            return network.map_err(|error| {
                if error.is_missing() {
                    error.context(format!(
                        "there is no network-attachment-definition {namespace}/{name}, and on disk"
                    ))
                } else {
                    error
                }
            });
        };
        self.by_definition(&definition)
            .await
            .map_err(|error| error.context(format!("{namespace}/{name}")))
    }

    async fn by_disk_source(&self, source: &str) -> Result<Network, GatherError> {
        let (source, conf_dir) = (source.to_owned(), self.settings.conf_dir.clone());
        let config = blocking(move || disk::network(&source, &conf_dir)).await?;
        Ok(on_disk(config))
    }

    /// The network of a definition. Errors do not name the definition.
    pub(super) async fn by_definition(
        &self,
        definition: &Arc<Definition>,
    ) -> Result<Network, GatherError> {
        let conf_dir = self.settings.conf_dir.clone();
        let config = if definition.has_config() {
            definition_network(definition, &conf_dir)?
        } else {
            let definition = Arc::clone(definition);
            blocking(move || definition_network(&definition, &conf_dir)).await?
        };
        network(definition, config)
    }
}

/// The network of a definition with this configuration.
pub(super) fn network(
    definition: &Definition,
    config: Arc<NetworkConfig>,
) -> Result<Network, GatherError> {
    Ok(Network {
        name: format!("{}/{}", definition.namespace, definition.name),
        namespace: Some(definition.namespace.clone()),
        resource_name: resource_name(definition)?,
        config,
    })
}

/// Checks the resource of a definition.
pub(crate) fn check_resource_name(definition: &Definition) -> Result<(), GatherError> {
    resource_name(definition).map(drop)
}

/// Checks the network of an element of `delegates`.
pub(crate) fn check_delegate(index: usize, config: &impl Serialize) -> Result<(), GatherError> {
    delegate(index, config).map(drop)
}

/// The resource of a definition. Checked because each network of a pod has a copy.
fn resource_name(definition: &Definition) -> Result<Option<String>, GatherError> {
    // Templates render an annotation without a value.
    let name = definition.resource_name.as_ref();
    let name = name.filter(|name| !name.is_empty());
    match name {
        Some(name) if name.len() > MAX_RESOURCE_NAME => Err(GatherError::ResourceName(name.len())),
        name => Ok(name.cloned()),
    }
}

/// The network of an element of `delegates`.
pub(super) fn delegate(index: usize, config: &impl Serialize) -> Result<Network, GatherError> {
    let text = serde_json::to_string(config).unwrap_or_default();
    let config = disk::parse(&text, None)
        .and_then(NetworkConfig::require_plugin)
        .map_err(|source| GatherError::Delegate { index, source })?;
    Ok(on_disk(config))
}

/// The network of a definition: its own configuration, or the network of its name in `conf_dir`
/// (K-003). Only the look-up in the directory blocks.
///
/// # Errors
/// The error does not name the definition. An invalid configuration is an error, whatever is on
/// disk (K-004).
fn definition_network(
    definition: &Definition,
    conf_dir: &Path,
) -> Result<Arc<NetworkConfig>, GatherError> {
    match definition.network_config() {
        Ok(Some(config)) => Ok(config),
        Ok(None) => match disk::by_name(conf_dir, &definition.name) {
            Ok(config) => Ok(Arc::new(config)),
            Err(error) if error.is_missing() => Err(GatherError::NoConfig {
                name: definition.name.clone(),
                dir: conf_dir.to_owned(),
                skipped: error.into_skipped(),
            }),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(GatherError::Definition(error)),
    }
}

#[cfg(test)]
mod tests;
