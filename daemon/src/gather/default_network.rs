//! The node's default network: found as in Multus, and watched while the daemon runs.
//!
//! A default network on disk is read whenever its file changes, and calls take it from memory.
//! While the file is broken or partly written, the last valid content stays in use. Once the file
//! is deleted, there is no default network until the file is back (decision 18), or until another
//! one takes its place (decision 32).

mod find;
mod primary;
mod source;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::disk::{self, DiskError, SelectedFile};
use super::error::GatherError;
use crate::cluster::{Store, StoreChanges};
use crate::config::Settings;
use crate::dir_watcher::DirWatcher;
use crate::model::Network;
use crate::telemetry::ChangeFilter;
pub(crate) use find::FoundNetwork;
use primary::{Choice, Primary};
use source::{DefaultNetworkSource, DiskLocation};

/// The current default network. Clones share their state.
#[derive(Debug, Clone)]
pub(crate) struct DefaultNetwork {
    state: watch::Receiver<DefaultNetworkState>,
    /// Whether each call looks the network up, with the settings of the call.
    looked_up_by_calls: bool,
}

#[derive(Debug, Clone)]
enum DefaultNetworkState {
    /// The network on the node's disk, the same for every call.
    OnDisk {
        file: PathBuf,
        network: Arc<Network>,
    },
    /// The result of a look-up without waiting.
    LookedUp(Result<Arc<Network>, GatherError>),
    Unavailable(GatherError),
}

impl DefaultNetwork {
    /// Finds the default network of `settings`, the settings of the daemon's own file. Returns the
    /// default network and its watcher. A missing default network is not an error.
    pub(crate) async fn open(settings: &Settings, store: &Store) -> (Self, DefaultNetworkWatcher) {
        let (state, default_network) = watch::channel(DefaultNetworkState::Unavailable(
            GatherError::DefaultNetworkPending,
        ));
        let mut watcher = DefaultNetworkWatcher {
            source: DefaultNetworkSource::of(settings),
            settings: settings.clone(),
            store: store.clone(),
            // Subscribed before the first read, so that no change is missed.
            changes: store.changes(),
            dirs: DirWatcher::new(),
            last_read: None,
            primary: Primary::read(&settings.state_dir, settings.primary_grace),
            switch_at: None,
            logged: ChangeFilter::default(),
            state,
        };
        watcher.update().await;
        let default_network = Self {
            state: default_network,
            looked_up_by_calls: !matches!(watcher.source, DefaultNetworkSource::Disk(_)),
        };
        (default_network, watcher)
    }

    /// The default network for a call. Returns `None` if the call must look it up, which is
    /// possible whether or not the network is ready.
    pub(crate) fn for_call(&self) -> Result<Option<Network>, GatherError> {
        if self.looked_up_by_calls {
            return Ok(None);
        }
        Ok(Some(Network::clone(&*self.current()?)))
    }

    /// Refuses calls while `readinessindicatorfile` is missing.
    pub(crate) fn check_ready(&self) -> Result<(), GatherError> {
        match &*self.state.borrow() {
            DefaultNetworkState::Unavailable(error @ GatherError::DefaultNetworkNotReady(_)) => {
                Err(error.clone())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn current(&self) -> Result<Arc<Network>, GatherError> {
        match &*self.state.borrow() {
            DefaultNetworkState::OnDisk { network, .. } => Ok(network.clone()),
            DefaultNetworkState::LookedUp(result) => result.clone(),
            DefaultNetworkState::Unavailable(error) => Err(error.clone()),
        }
    }

    /// The file that has the network. `None` if the network is not on the node's disk, or missing.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        match &*self.state.borrow() {
            DefaultNetworkState::OnDisk { file, .. } => Some(file.clone()),
            _ => None,
        }
    }

    /// Waits for a change. Never returns once the watcher is dropped.
    pub(crate) async fn changed(&mut self) {
        if self.state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Watches the default network and publishes its state.
#[derive(Debug)]
pub(crate) struct DefaultNetworkWatcher {
    source: DefaultNetworkSource,
    settings: Settings,
    store: Store,
    changes: StoreChanges,
    dirs: DirWatcher,
    /// The file that was read last, and its network.
    last_read: Option<(PathBuf, Arc<Network>)>,
    primary: Primary,
    /// When another file takes the place of the missing one.
    switch_at: Option<Instant>,
    /// The logged problems with files. Some programs write to the directory many times a second.
    logged: ChangeFilter,
    state: watch::Sender<DefaultNetworkState>,
}

impl DefaultNetworkWatcher {
    /// Watches the default network. Never returns.
    pub(crate) async fn run(mut self) -> Infallible {
        loop {
            tokio::select! {
                _ = self.dirs.changed() => {}
                () = sleep_until(self.switch_at.unwrap_or_else(Instant::now)), if self.switch_at.is_some() => {}
                () = self.changes.next(), if matches!(self.source, DefaultNetworkSource::Name(_)) => {}
            }
            self.update().await;
        }
    }

    /// Reads the default network and publishes its state. Reads again if a directory was not
    /// watched before.
    async fn update(&mut self) {
        loop {
            let state = self.read().await;
            let mut dirs = self.source.dirs(&self.settings, state.network_name());
            // The file may be a link to a file in another directory.
            let target = self
                .last_read
                .as_ref()
                .and_then(|(file, _)| file.canonicalize().ok());
            dirs.extend(target.as_deref().and_then(Path::parent).map(Path::to_owned));
            if !self.dirs.set(dirs) {
                return self.publish(state);
            }
        }
    }

    async fn read(&mut self) -> DefaultNetworkState {
        self.switch_at = None;
        if let Err(error) = check_indicator(&self.settings) {
            return DefaultNetworkState::Unavailable(error);
        }
        let DefaultNetworkSource::Disk(location) = &self.source else {
            let network = source::look_up(&self.store, &self.settings).await;
            return DefaultNetworkState::LookedUp(network.map(Arc::new));
        };
        match self.read_disk(location.clone()).await {
            Ok((file, network)) => DefaultNetworkState::OnDisk { file, network },
            Err(source) => {
                self.last_read = None;
                DefaultNetworkState::Unavailable(missing(&self.settings, source))
            }
        }
    }

    async fn read_disk(
        &mut self,
        location: DiskLocation,
    ) -> Result<(PathBuf, Arc<Network>), GatherError> {
        let last_file = self.last_read.as_ref().map(|(file, _)| file.clone());
        let in_directory = location.is_directory();
        let selected = disk::blocking(move || location.read(last_file.as_deref())).await;
        let SelectedFile {
            path,
            config,
            broken,
        } = selected.inspect_err(|_: &DiskError| self.primary.miss(Instant::now()))?;
        let mut problems: Vec<_> = broken
            .iter()
            .map(|error| format!("network configuration skipped: {error}"))
            .collect();
        let broken: Vec<_> = broken.iter().filter_map(DiskError::path).collect();
        if in_directory
            && let Choice::Wait { missing, until } =
                self.primary.choose(&path, &broken, Instant::now())
        {
            self.switch_at = Some(until);
            return Err(GatherError::DefaultNetworkFileMissing {
                missing,
                other: path,
                grace: self.settings.primary_grace,
            });
        }
        let network = match (config, &self.last_read) {
            (Ok(config), _) => Arc::new(disk::on_disk(config)),
            (Err(error), Some((last_file, network))) if *last_file == path => {
                problems.push(format!(
                    "the default network cannot be read; its last valid configuration stays in use: {error}"
                ));
                network.clone()
            }
            (Err(error), _) => return Err(error.into()),
        };
        for problem in problems {
            if self.logged.is_new(&problem) {
                tracing::warn!("{problem}");
            }
        }
        self.logged.end_round();
        self.last_read = Some((path.clone(), network.clone()));
        Ok((path, network))
    }

    /// Publishes and logs `state` if it differs from the current one.
    fn publish(&self, state: DefaultNetworkState) {
        self.state.send_if_modified(|current| {
            if current.is_same_as(&state) {
                return false;
            }
            match &state {
                DefaultNetworkState::OnDisk { file, network } => {
                    let file = file.display().to_string();
                    tracing::info!(network = network.name, file, "default network found");
                }
                DefaultNetworkState::LookedUp(Ok(network)) => {
                    tracing::info!(network = network.name, "default network found");
                }
                DefaultNetworkState::LookedUp(Err(error))
                | DefaultNetworkState::Unavailable(error) => {
                    // Each refused call, and the reason why the node is not ready, have the error.
                    tracing::debug!(%error, "the default network is unavailable");
                }
            }
            *current = state;
            true
        });
    }
}

/// Fails while `readinessindicatorfile` is missing.
fn check_indicator(settings: &Settings) -> Result<(), GatherError> {
    match &settings.readiness_indicator {
        Some(file) if !file.exists() => Err(GatherError::DefaultNetworkNotReady(file.clone())),
        _ => Ok(()),
    }
}

/// The error of a default network that cannot be read from disk.
fn missing(settings: &Settings, source: GatherError) -> GatherError {
    let key = if settings.cluster_network.is_some() {
        "clusterNetwork"
    } else {
        "multusAutoconfigDir"
    };
    GatherError::DefaultNetworkMissing {
        key,
        source: Box::new(source),
    }
}

impl DefaultNetworkState {
    fn network_name(&self) -> Option<&str> {
        match self {
            Self::OnDisk { network, .. } | Self::LookedUp(Ok(network)) => {
                Some(&network.config.name)
            }
            Self::LookedUp(Err(_)) | Self::Unavailable(_) => None,
        }
    }

    fn is_same_as(&self, other: &Self) -> bool {
        let content = |network: &Network| {
            (
                network.name.clone(),
                serde_json::to_string(&network.config).ok(),
            )
        };
        match (self, other) {
            (
                Self::OnDisk {
                    file: left_file,
                    network: left,
                },
                Self::OnDisk { file, network },
            ) => left_file == file && content(left) == content(network),
            (Self::LookedUp(Ok(left)), Self::LookedUp(Ok(right))) => {
                content(left) == content(right)
            }
            (Self::Unavailable(left), Self::Unavailable(right))
            | (Self::LookedUp(Err(left)), Self::LookedUp(Err(right))) => {
                left.to_string() == right.to_string()
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
