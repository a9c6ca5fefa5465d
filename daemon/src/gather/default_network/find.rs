//! A single search for the default network, for commands that run beside the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::source::{DefaultNetworkSource, DiskLocation, look_up};
use super::{DefaultNetwork, DefaultNetworkState, check_indicator, missing};
use crate::cluster::Store;
use crate::config::Settings;
use crate::gather::disk::{self, DiskError, SelectedFile};

/// The default network, as it was found.
#[derive(Debug)]
pub(crate) struct FoundNetwork {
    pub(crate) default_network: DefaultNetwork,
    /// The file of the default network. `None` if the file is missing, or if the network is not on
    /// disk.
    pub(crate) file: Option<PathBuf>,
    /// The files before it that cannot be used.
    pub(crate) broken: Vec<DiskError>,
}

impl FoundNetwork {
    /// Finds the default network of `settings`. Writes nothing, and does not wait for a file that
    /// is missing while another one is there (decision 32).
    pub(crate) async fn find(settings: &Settings, store: &Store) -> Self {
        let source = DefaultNetworkSource::of(settings);
        let (mut file, mut broken) = (None, Vec::new());
        let state = match (check_indicator(settings), &source) {
            (Err(error), _) => DefaultNetworkState::Unavailable(error),
            (Ok(()), DefaultNetworkSource::Disk(location)) => match read(location.clone()).await {
                Ok(selected) => {
                    (file, broken) = (Some(selected.path.clone()), selected.broken);
                    match selected.config {
                        Ok(config) => DefaultNetworkState::OnDisk {
                            file: selected.path,
                            network: Arc::new(disk::on_disk(config)),
                        },
                        Err(error) => DefaultNetworkState::Unavailable(error.into()),
                    }
                }
                Err(error) => DefaultNetworkState::Unavailable(missing(settings, error.into())),
            },
            (Ok(()), _) => {
                DefaultNetworkState::LookedUp(look_up(store, settings).await.map(Arc::new))
            }
        };
        Self {
            default_network: DefaultNetwork {
                state: watch::channel(state).1,
                looked_up_by_calls: !matches!(source, DefaultNetworkSource::Disk(_)),
            },
            file,
            broken,
        }
    }
}

async fn read(location: DiskLocation) -> Result<SelectedFile, DiskError> {
    disk::blocking(move || location.read(None)).await
}
