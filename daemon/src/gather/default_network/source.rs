//! Where the default network comes from.

use std::path::{Path, PathBuf};

use plexus_api::cni::{CniError, Code, NetworkConfig};

use crate::cluster::Store;
use crate::config::Settings;
use crate::gather::disk::{self, First};
use crate::gather::networks::{self, DEFAULT_VERSION};
use crate::model::{Network, refers_to_us};

/// What the daemon's file says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DefaultNetworkSource {
    /// A place on disk.
    Within(Within),
    /// The name of a definition, or of a network in `confDir`.
    Name(String),
    /// `delegates`, or nothing: a call may name one.
    Literal,
}

/// A place on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Within {
    /// The first network in this directory.
    Directory(PathBuf),
    /// This file, whatever its name; the first network in it where it is a directory.
    Pinned(PathBuf),
}

impl DefaultNetworkSource {
    /// `clusterNetwork` counts before `multusAutoconfigDir`, and that before `delegates`, as for Multus.
    pub(super) fn of(settings: &Settings) -> Self {
        match (
            &settings.cluster_network,
            &settings.autoconfig_dir,
            &settings.master_cni,
        ) {
            (Some(path), ..) if path.contains('/') => Self::Within(Within::Pinned(path.into())),
            (Some(name), ..) => Self::Name(name.clone()),
            (None, Some(dir), Some(file)) => Self::Within(Within::Pinned(dir.join(file))),
            (None, Some(dir), None) => Self::Within(Within::Directory(dir.clone())),
            (None, None, _) => Self::Literal,
        }
    }

    /// The directories in which a change may make another of it; `name` is that of the network now.
    pub(super) fn dirs(&self, settings: &Settings, name: Option<&str>) -> Vec<PathBuf> {
        let mut dirs: Vec<PathBuf> = match self {
            Self::Within(Within::Directory(dir)) => vec![dir.clone()],
            Self::Within(Within::Pinned(path)) => path
                .parent()
                .into_iter()
                .chain([&**path])
                .map(Path::to_owned)
                .collect(),
            Self::Name(_) => vec![settings.conf_dir.clone()],
            Self::Literal => Vec::new(),
        };
        // The further plugins of a list are in the directory of its name beside it.
        let siblings: Vec<_> = name
            .into_iter()
            .flat_map(|name| dirs.iter().map(move |dir| dir.join(name)))
            .collect();
        dirs.extend(siblings);
        dirs.extend(
            settings
                .readiness_indicator
                .as_deref()
                .and_then(Path::parent)
                .map(Path::to_owned),
        );
        dirs
    }
}

impl Within {
    /// The file that counts, with the network in it. The file `kept` is not passed over where it cannot be read. Blocking.
    ///
    /// # Errors
    /// There is no file.
    pub(super) fn read(&self, kept: Option<&Path>) -> Result<First, CniError> {
        let path = match self {
            Self::Directory(dir) => dir,
            Self::Pinned(path) if path.is_dir() => path,
            Self::Pinned(file) => {
                let read = disk::from_file(file, DEFAULT_VERSION).and_then(not_ours);
                return match read {
                    Err(error) if error.is(Code::UnknownNetwork) => Err(error),
                    read => Ok(First {
                        file: file.clone(),
                        read,
                        broken: Vec::new(),
                    }),
                };
            }
        };
        disk::first_in(path, kept, DEFAULT_VERSION)
    }
}

/// What the default network is where each call looks it up. Does not wait.
pub(super) async fn look_up(store: &Store, settings: &Settings) -> Result<Network, CniError> {
    let network = networks::look_up(store, settings).await?;
    not_ours(network.config.clone())?;
    Ok(network)
}

/// Refuses what would wait for itself (K-071).
fn not_ours(config: NetworkConfig) -> Result<NetworkConfig, CniError> {
    match refers_to_us(&config) {
        None => Ok(config),
        Some(kind) => {
            let msg = format!(
                "network {:?} leads back to {kind:?}, and would wait for itself",
                config.name
            );
            Err(CniError::new(Code::InvalidConfig, msg))
        }
    }
}
