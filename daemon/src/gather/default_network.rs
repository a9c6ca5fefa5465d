//! The node's default network: found as Multus finds it, and followed while the daemon runs.
//!
//! On disk it is read when it changes, and calls take it from memory. A file that is written only in part, or broken,
//! leaves what was read last; once it is gone there is no default network until one comes (decision 18).

mod source;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plexus_api::cni::{CniError, Code};
use tokio::sync::watch;

use super::disk::First;
use crate::cluster::{Changes, Store};
use crate::config::Settings;
use crate::dir_watcher::DirWatcher;
use crate::model::Network;
use source::{DefaultNetworkSource, Within};

/// The default network as it is now. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct DefaultNetwork(watch::Receiver<State>);

#[derive(Debug, Clone)]
enum State {
    /// It is on the node's disk, and the same for every call.
    OnDisk(Arc<Network>),
    /// A definition, a name, or literal: calls look it up themselves. This is what it is, or why there is none.
    LookedUp(Result<Arc<Network>, CniError>),
    /// There is none now.
    Away(CniError),
}

impl DefaultNetwork {
    /// Finds the default network of `settings`, those of the daemon's file, and whoever follows it from here on.
    ///
    /// # Errors
    /// The system's, where it cannot be followed. That there is none yet is no error.
    pub(crate) async fn open(
        settings: &Settings,
        store: &Store,
    ) -> io::Result<(Self, DefaultNetworkWatcher)> {
        let none = CniError::new(
            Code::TryAgain,
            "the default network has not been looked for yet",
        );
        let (state, default_network) = watch::channel(State::Away(none));
        let mut follower = DefaultNetworkWatcher {
            source: DefaultNetworkSource::of(settings),
            settings: settings.clone(),
            store: store.clone(),
            // From before the first look on, so that no change falls in between.
            changes: store.changes(),
            watched: DirWatcher::new()?,
            last: None,
            troubles: Vec::new(),
            state,
        };
        follower.look().await?;
        Ok((Self(default_network), follower))
    }

    /// The default network for a call, where it does not have to look it up itself.
    ///
    /// # Errors
    /// [`Code::TryAgain`] while there is none.
    pub(crate) fn for_call(&self) -> Result<Option<Network>, CniError> {
        match &*self.0.borrow() {
            State::OnDisk(network) => Ok(Some(Network::clone(network))),
            State::LookedUp(_) => Ok(None),
            State::Away(error) => Err(error.clone()),
        }
    }

    /// The default network.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn current(&self) -> Result<Arc<Network>, CniError> {
        match &*self.0.borrow() {
            State::OnDisk(network) => Ok(network.clone()),
            State::LookedUp(looked_up) => looked_up.clone(),
            State::Away(error) => Err(error.clone()),
        }
    }

    /// Waits until it is another. Never ends once nobody follows it.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Follows the default network.
#[derive(Debug)]
pub(crate) struct DefaultNetworkWatcher {
    source: DefaultNetworkSource,
    settings: Settings,
    store: Store,
    changes: Changes,
    watched: DirWatcher,
    /// The file that was read last, and the network in it.
    last: Option<(PathBuf, Arc<Network>)>,
    /// What was wrong with files at the last look.
    troubles: Vec<String>,
    state: watch::Sender<State>,
}

impl DefaultNetworkWatcher {
    /// Follows it for as long as that is possible, and returns why it is not any more.
    pub(crate) async fn run(mut self) -> io::Error {
        loop {
            tokio::select! {
                changed = self.watched.changed() => if let Err(error) = changed { return error },
                () = self.changes.next(), if matches!(self.source, DefaultNetworkSource::Name(_)) => {}
            }
            if let Err(error) = self.look().await {
                return error;
            }
        }
    }

    /// Looks at it, and again where what it lies in was not watched before.
    async fn look(&mut self) -> io::Result<()> {
        loop {
            let state = self.read().await;
            let name = match &state {
                State::OnDisk(network) | State::LookedUp(Ok(network)) => {
                    Some(network.config.name.clone())
                }
                _ => None,
            };
            let mut dirs = self.source.dirs(&self.settings, name.as_deref());
            // The file may be a link to one elsewhere.
            let file = self
                .last
                .as_ref()
                .and_then(|(file, _)| file.canonicalize().ok());
            dirs.extend(file.as_deref().and_then(Path::parent).map(Path::to_owned));
            if !self.watched.set(dirs)? {
                self.publish(state);
                return Ok(());
            }
        }
    }

    async fn read(&mut self) -> State {
        if let Some(indicator) = self
            .settings
            .readiness_indicator
            .clone()
            .filter(|file| !file.exists())
        {
            let msg = format!(
                "the default network is not ready: readinessindicatorfile {} is missing",
                indicator.display()
            );
            return State::Away(CniError::new(Code::TryAgain, msg));
        }
        let within = match &self.source {
            DefaultNetworkSource::Within(within) => within.clone(),
            DefaultNetworkSource::Name(_) | DefaultNetworkSource::Literal => {
                return State::LookedUp(
                    source::look_up(&self.store, &self.settings)
                        .await
                        .map(Arc::new),
                );
            }
        };
        match self.read_within(within).await {
            Ok(network) => State::OnDisk(network),
            Err(error) => {
                self.last = None;
                let key = if self.settings.cluster_network.is_some() {
                    "clusterNetwork"
                } else {
                    "multusAutoconfigDir"
                };
                let error = CniError {
                    code: Code::TryAgain as u32,
                    ..error
                };
                State::Away(error.context(key).context("no default network"))
            }
        }
    }

    async fn read_within(&mut self, within: Within) -> Result<Arc<Network>, CniError> {
        let kept = self.last.as_ref().map(|(file, _)| file.clone());
        let First { file, read, broken } =
            super::networks::blocking(move || within.read(kept.as_deref())).await?;
        let mut troubles: Vec<_> = broken
            .into_iter()
            .map(|error| format!("network configuration passed over: {error}"))
            .collect();
        let network = match (read, &self.last) {
            (Ok(config), _) => Arc::new(super::networks::on_disk(config)),
            (Err(error), Some((last, network))) if *last == file => {
                troubles.push(format!(
                    "the default network cannot be read; it stays what it was: {error}"
                ));
                network.clone()
            }
            (Err(error), _) => return Err(error),
        };
        // Once each: some write a file beside them many times a second.
        for trouble in troubles
            .iter()
            .filter(|trouble| !self.troubles.contains(trouble))
        {
            tracing::warn!("{trouble}");
        }
        self.troubles = troubles;
        self.last = Some((file, network.clone()));
        Ok(network)
    }

    /// Tells of a state that is another than before.
    fn publish(&self, state: State) {
        let file = self
            .last
            .as_ref()
            .map(|(file, _)| file.display().to_string());
        self.state.send_if_modified(|before| {
            if before.same_as(&state) {
                return false;
            }
            match &state {
                State::OnDisk(network) | State::LookedUp(Ok(network)) => {
                    tracing::info!(network = network.name, file, "the default network");
                }
                State::LookedUp(Err(error)) | State::Away(error) => {
                    tracing::warn!(%error, "the default network is away");
                }
            }
            *before = state;
            true
        });
    }
}

impl State {
    fn same_as(&self, other: &Self) -> bool {
        let text = |network: &Network| {
            (
                network.name.clone(),
                serde_json::to_string(&network.config).ok(),
            )
        };
        match (self, other) {
            (Self::OnDisk(one), Self::OnDisk(two))
            | (Self::LookedUp(Ok(one)), Self::LookedUp(Ok(two))) => text(one) == text(two),
            (Self::Away(one), Self::Away(two))
            | (Self::LookedUp(Err(one)), Self::LookedUp(Err(two))) => one == two,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
