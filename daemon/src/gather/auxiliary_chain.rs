//! The auxiliary chain: plugins on the node's disk that run for every pod after its networks.

use plexus_api::cni::{NetworkConfig, Version};

use super::disk::{self, DiskError, blocking, on_disk};
use crate::config::{AuxiliaryChain, Settings};
use crate::model::Network;

/// The plugins of `auxiliaryCNIChainName`, which are called in `version`. Returns `None` if the
/// directory has none, or if one of its files cannot be used: as in Multus, pods then start without
/// the chain.
pub(super) async fn read(settings: &Settings, version: Version) -> Option<Network> {
    let chain = settings.auxiliary_chain.clone()?;
    let dir = chain.dir.clone();
    match blocking(move || network(&chain, version)).await {
        Ok(network) => network,
        Err(error) => {
            let dir = dir.display();
            tracing::error!("pods start without the auxiliary chain in {dir}: {error}");
            None
        }
    }
}

fn network(chain: &AuxiliaryChain, version: Version) -> Result<Option<Network>, DiskError> {
    let config = NetworkConfig {
        name: chain.name.clone(),
        // Results of earlier versions must have an address.
        cni_version: version.max(Version::V0_3_0),
        // The chain has no interface, and plugins refuse CHECK without one.
        disable_check: true,
        disable_gc: false,
        load_only_inlined_plugins: true,
        plugins: Vec::new(),
    };
    let config = disk::append_plugins(config, &chain.dir)?;
    let config = disk::refuse_meta_plugin(config, &chain.dir)?;
    Ok((!config.plugins.is_empty()).then(|| on_disk(config)))
}
