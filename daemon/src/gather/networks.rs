//! The networks that a pod gets: by definition, or from the node's disk.

use std::sync::Arc;

use plexus_api::cni::{CniError, Code, Defaults, NetworkConfig, Version};
use plexus_api::selection::Selection;

use super::default_network::DefaultNetwork;
use super::{Deadlines, disk};
use crate::cluster::kube::Live;
use crate::cluster::{Definition, Store};
use crate::config::Settings;
use crate::model::{Network, place};

/// What a definition without a version is executed as.
pub(super) const DEFAULT_VERSION: Version = Version::V1_0_0;

/// Looks networks up. A definition that is not known yet is waited for, and then asked for once.
pub(super) struct Lookup<'a> {
    pub(crate) store: &'a Store,
    pub(crate) live: Option<&'a Live>,
    /// The default network that is followed; without it, it is looked up.
    pub(crate) default_network: Option<&'a DefaultNetwork>,
    pub(crate) settings: &'a Settings,
    pub(crate) deadlines: Deadlines,
}

/// The networks of every pod outside the system namespaces, the default network first, looked up without waiting: for
/// STATUS and GC.
pub(crate) async fn default_networks(
    store: &Store,
    default_network: &DefaultNetwork,
    settings: &Settings,
) -> Result<Vec<Network>, CniError> {
    let lookup = Lookup {
        store,
        live: None,
        default_network: Some(default_network),
        settings,
        deadlines: Deadlines::now(),
    };
    let (default, literal) = lookup.default_networks().await?;
    let everywhere = lookup.everywhere().await?;
    Ok([vec![default], literal, everywhere].concat())
}

/// The default network by definition, by name, or literally, looked up without waiting.
pub(super) async fn look_up(store: &Store, settings: &Settings) -> Result<Network, CniError> {
    let lookup = Lookup {
        store,
        live: None,
        default_network: None,
        settings,
        deadlines: Deadlines::now(),
    };
    lookup.default_networks().await.map(|(default, _)| default)
}

impl Lookup<'_> {
    /// The default network, and the further ones that stand beside it in a literal list.
    pub(super) async fn default_networks(&self) -> Result<(Network, Vec<Network>), CniError> {
        if let Some(followed) = self
            .default_network
            .map(DefaultNetwork::for_call)
            .transpose()?
            .flatten()
        {
            return Ok((followed, Vec::new()));
        }
        if let Some(name) = &self.settings.cluster_network {
            let network = self.by_any_form(name).await.map_err(|error| {
                let error = error.context("clusterNetwork");
                // It may come, as one on disk may (decision 18).
                if error.is(Code::UnknownNetwork) {
                    return CniError {
                        code: Code::TryAgain as u32,
                        ..error.context("no default network")
                    };
                }
                error
            });
            return Ok((network?, Vec::new()));
        }
        let mut literal = Vec::new();
        for (index, delegate) in self.settings.delegates.iter().enumerate() {
            let text = serde_json::to_string(delegate).unwrap_or_default();
            let defaults = Defaults {
                name: None,
                version: DEFAULT_VERSION,
            };
            let config =
                NetworkConfig::parse(&text, defaults).and_then(NetworkConfig::require_plugin);
            let config = config
                .map_err(|error| CniError::from(error).context(format!("delegates[{index}]")))?;
            literal.push(on_disk(config));
        }
        if literal.is_empty() {
            let msg = "no default network: set multusAutoconfigDir, clusterNetwork or delegates in the node's configuration";
            return Err(CniError::new(Code::InvalidConfig, msg));
        }
        let default = literal.remove(0);
        Ok((default, literal))
    }

    /// The networks of every pod outside the system namespaces (K-068).
    pub(super) async fn everywhere(&self) -> Result<Vec<Network>, CniError> {
        let mut networks = Vec::new();
        for name in &self.settings.default_networks {
            networks.push(
                self.by_any_form(name)
                    .await
                    .map_err(|error| error.context("defaultNetworks"))?,
            );
        }
        Ok(networks)
    }

    /// The network that an element of the annotation names, for the interface `ifname`.
    pub(super) async fn selected(
        &self,
        selection: &Selection,
        ifname: &str,
    ) -> Result<Network, CniError> {
        let (namespace, name) = (&selection.namespace, &selection.name);
        let found = match self.awaited(namespace, name).await {
            Ok(Some(definition)) => self.by_definition(definition).await,
            Ok(None) => {
                let msg = "there is no network-attachment-definition of this name";
                Err(CniError::new(Code::UnknownNetwork, msg))
            }
            Err(error) => Err(error),
        };
        found.map_err(|error| error.context(place(&format!("{namespace}/{name}"), ifname)))
    }

    /// The definition: when it comes, else by asking for it.
    async fn awaited(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Definition>>, CniError> {
        match (
            self.store
                .wait_definition(namespace, name, self.deadlines.watch)
                .await,
            self.live,
        ) {
            (None, Some(live)) => Ok(live
                .definition(namespace, name, self.deadlines.call)
                .await?
                .map(Arc::new)),
            (known, _) => Ok(known),
        }
    }

    /// A definition in the daemon's namespace, a name on disk, a directory or a file, in this order (K-061).
    async fn by_any_form(&self, name: &str) -> Result<Network, CniError> {
        if name.contains('/') {
            return self.on_node(name).await;
        }
        let namespace = &self.settings.multus_namespace;
        let definition = match self.live {
            // Before all definitions are known, a network on disk may not be the one that is meant.
            Some(live) if !self.store.wait_definitions(self.deadlines.watch).await => live
                .definition(namespace, name, self.deadlines.call)
                .await?
                .map(Arc::new),
            _ => self.store.definition(namespace, name),
        };
        let Some(definition) = definition else {
            return self.on_node(name).await;
        };
        self.by_definition(definition)
            .await
            .map_err(|error| error.context(format!("{namespace}/{name}")))
    }

    async fn on_node(&self, source: &str) -> Result<Network, CniError> {
        let (source, conf_dir) = (source.to_owned(), self.settings.conf_dir.clone());
        blocking(move || disk::network(&source, &conf_dir, DEFAULT_VERSION))
            .await
            .map(on_disk)
    }

    async fn by_definition(&self, definition: Arc<Definition>) -> Result<Network, CniError> {
        let namespace = definition.namespace.clone();
        let name = format!("{namespace}/{}", definition.name);
        let config = if definition.config.as_deref().unwrap_or_default().is_empty() {
            let conf_dir = self.settings.conf_dir.clone();
            blocking(move || disk::definition_network(&definition, &conf_dir, DEFAULT_VERSION))
                .await?
        } else {
            disk::definition_network(&definition, &self.settings.conf_dir, DEFAULT_VERSION)?
        };
        Ok(Network {
            name,
            namespace: Some(namespace),
            config,
        })
    }
}

/// Runs what reads files where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, CniError> + Send + 'static,
) -> Result<T, CniError> {
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|panic| {
            Err(CniError::new(
                Code::Internal,
                format!("reading a configuration panicked: {panic}"),
            ))
        })
}

pub(super) fn on_disk(config: NetworkConfig) -> Network {
    Network {
        name: config.name.clone(),
        namespace: None,
        config,
    }
}
