//! The source of the default network: a location on disk, a network name, or `delegates`.

use std::path::{Path, PathBuf};

use crate::cluster::Store;
use crate::config::Settings;
use crate::gather::disk::{self, DiskError, SelectedFile};
use crate::gather::error::GatherError;
use crate::gather::networks::Lookup;
use crate::model::{Network, meta_plugin_type};

/// The source of the default network in the daemon's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DefaultNetworkSource {
    Disk(DiskLocation),
    /// The name of a definition, or of a network in `confDir`.
    Name(String),
    /// `delegates` of the daemon's configuration or of the call.
    Delegates,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DiskLocation {
    /// The first usable network in this directory.
    Directory(PathBuf),
    /// This file, even if its name is that of a sample. If the path is a directory, the first
    /// usable network in it.
    Pinned(PathBuf),
}

impl DefaultNetworkSource {
    /// `clusterNetwork` has precedence over `multusAutoconfigDir`, which has precedence over
    /// `delegates`, as in Multus.
    pub(super) fn of(settings: &Settings) -> Self {
        match (
            &settings.cluster_network,
            &settings.autoconfig_dir,
            &settings.master_cni,
        ) {
            (Some(path), ..) if path.contains('/') => Self::Disk(DiskLocation::Pinned(path.into())),
            (Some(name), ..) => Self::Name(name.clone()),
            (None, Some(dir), Some(file)) => Self::Disk(DiskLocation::Pinned(dir.join(file))),
            (None, Some(dir), None) => Self::Disk(DiskLocation::Directory(dir.clone())),
            (None, None, _) => Self::Delegates,
        }
    }

    /// The directories whose changes can change the default network. `name` is the name of the
    /// current default network.
    pub(super) fn dirs(&self, settings: &Settings, name: Option<&str>) -> Vec<PathBuf> {
        let mut dirs: Vec<PathBuf> = match self {
            Self::Disk(DiskLocation::Directory(dir)) => vec![dir.clone()],
            Self::Disk(DiskLocation::Pinned(path)) => path
                .parent()
                .into_iter()
                .chain([&**path])
                .map(Path::to_owned)
                .collect(),
            Self::Name(_) => vec![settings.conf_dir.clone()],
            Self::Delegates => Vec::new(),
        };
        // A directory with the network's name has further plugins.
        let siblings: Vec<_> = name
            .into_iter()
            .flat_map(|name| dirs.iter().map(move |dir| dir.join(name)))
            .collect();
        dirs.extend(siblings);
        let indicator = settings.readiness_indicator.as_deref();
        dirs.extend(indicator.and_then(Path::parent).map(Path::to_owned));
        dirs
    }
}

impl DiskLocation {
    /// Whether the file is selected among others.
    pub(super) fn is_directory(&self) -> bool {
        match self {
            Self::Directory(_) => true,
            Self::Pinned(path) => path.is_dir(),
        }
    }

    /// Selects the file with the default network and reads it. Selects the file `keep` even if it
    /// cannot be read. Blocking.
    ///
    /// # Errors
    /// There is no file to select.
    pub(super) fn read(&self, keep: Option<&Path>) -> Result<SelectedFile, DiskError> {
        let dir = match self {
            Self::Directory(dir) => dir,
            Self::Pinned(path) if path.is_dir() => path,
            Self::Pinned(path) => {
                let config =
                    disk::from_file(path).and_then(|config| disk::refuse_meta_plugin(config, path));
                return match config {
                    Err(error) if error.is_missing() => Err(error),
                    config => Ok(SelectedFile {
                        path: path.clone(),
                        config,
                        broken: Vec::new(),
                    }),
                };
            }
        };
        disk::select_file(dir, keep)
    }
}

/// The default network of a source that each call looks up itself. Does not wait.
pub(super) async fn look_up(store: &Store, settings: &Settings) -> Result<Network, GatherError> {
    let lookup = Lookup::without_waiting(store, settings);
    let network = lookup.default_network().await?;
    match meta_plugin_type(&network.config) {
        None => Ok(network),
        Some(kind) => Err(GatherError::MetaPlugin {
            network: network.name,
            kind,
        }),
    }
}
