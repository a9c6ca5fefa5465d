//! What Plexus puts on the node: the shim, and then the configuration that makes the runtime execute it (C-25).
//!
//! Neither appears before it can be used: the configuration only once the pods and definitions are known, the default
//! network is there, and the shim is in place (K-069). Both are put back when others take them away, and both stay when
//! the daemon ends: a node without them would start pods on whatever configuration is left (decisions 18 and 22).

mod backoff;
mod config_file;
mod document;
mod shim;
mod status;
mod uninstall;

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use plexus_api::cni::{CniError, Code, Defaults, NetworkConfig, Version};
use plexus_api::wire::UNINSTALLED;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::atomic_file::remove_if_present;
use crate::cluster::Store;
use crate::config::{Fields, Settings};
use crate::dir_watcher::DirWatcher;
use crate::gather::default_network::DefaultNetwork;
use crate::model::Network;
use backoff::pause;
use config_file::{ConfigFile, Written};
use shim::Shim;

pub use status::ProblemKind;
pub(crate) use status::{Problem, Status};
pub(crate) use uninstall::Uninstall;

/// The file of the shim in `shimDir`; its name is the type in our configuration.
pub(crate) const SHIM: &str = "plexus";

/// The configuration that is published, as the runtime reads it.
///
/// # Errors
/// [`Code::NotAvailable`] where there is none, or one that cannot be used.
pub(crate) async fn published(settings: &Settings) -> Result<NetworkConfig, CniError> {
    let not_available = |why: String| {
        CniError::new(
            Code::NotAvailable,
            format!("the runtime's configuration {why}"),
        )
    };
    let publish = settings
        .publish
        .as_ref()
        .ok_or_else(|| not_available("is not published".to_owned()))?;
    let path = publish.dir.join(config_file::FILE);
    let wrong = |why: &dyn Display| not_available(format!("{}: {why}", path.display()));
    let text = tokio::fs::read_to_string(&path)
        .await
        .map_err(|error| wrong(&error))?;
    let parsed = NetworkConfig::parse(
        &text,
        Defaults {
            name: None,
            version: Version::V1_0_0,
        },
    );
    parsed
        .and_then(NetworkConfig::require_plugin)
        .map_err(|error| wrong(&error))
}

/// Keeps shim and configuration in place.
#[derive(Debug)]
pub(crate) struct Install {
    file: ConfigFile,
    shim: Option<Shim>,
    state_dir: PathBuf,
    store: Store,
    default_network: DefaultNetwork,
    /// The default network that was there last: what we publish outlives it.
    network: Option<Arc<Network>>,
    /// How often in a row something could not be put in place. What hinders it is told of by nobody when it ends.
    failures: u32,
    status: Status,
}

impl Install {
    /// What `settings` say is to be installed, if anything; `fields` are the daemon's file, `shim` our own copy of the
    /// shim.
    pub(crate) fn new(
        settings: &Settings,
        fields: &Fields,
        shim: PathBuf,
        store: &Store,
        default_network: &DefaultNetwork,
        status: &Status,
    ) -> Option<Self> {
        let publish = settings.publish.clone()?;
        Some(Self {
            file: ConfigFile::new(publish, fields),
            shim: settings.shim_dir.clone().map(|dir| Shim::new(shim, dir)),
            state_dir: settings.state_dir.clone(),
            store: store.clone(),
            default_network: default_network.clone(),
            network: None,
            failures: 0,
            status: status.clone(),
        })
    }

    /// Works until `stop`. What it did stays.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.store.changes();
        while !self.store.synced() {
            tokio::select! {
                () = changes.next() => {}
                () = stop.cancelled() => return,
            }
        }
        while let Err(error) = self.follow(&stop).await {
            let text =
                format!("the runtime's configuration and the shim are not looked after: {error}");
            self.status.set(
                vec![Problem::new(ProblemKind::Unpublished, text)],
                self.file.restored(),
            );
            let pause = pause(self.failures);
            self.failures += 1;
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Works until `stop`, or as long as the directories can be followed.
    async fn follow(&mut self, stop: &CancellationToken) -> io::Result<()> {
        let mut watched = DirWatcher::new()?;
        let shim_dir = self.shim.as_ref().map(|shim| shim.dir().to_owned());
        watched.set(
            [self.file.dir().to_owned()]
                .into_iter()
                .chain(shim_dir)
                .collect(),
        )?;
        loop {
            let again = tokio::task::block_in_place(|| self.pass());
            tokio::select! {
                changed = watched.changed() => changed?,
                () = self.default_network.changed() => {}
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Brings both into order, and says what is missing. When to come again without being told of a change. Blocking.
    fn pass(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut problems = Vec::new();
        let mut again = Vec::new();
        let mut failed = false;
        match self.default_network.current() {
            Ok(network) => self.network = Some(network),
            Err(CniError { msg, details, .. }) => {
                let text = if details.is_empty() {
                    msg
                } else {
                    format!("{msg}; {details}")
                };
                problems.push(Problem::new(ProblemKind::DefaultNetwork, text));
            }
        }
        if let Some(shim) = &mut self.shim {
            match shim.bring(now) {
                Ok(later) => again.extend(later),
                Err(error) => {
                    failed = true;
                    problems.push(Problem::new(
                        ProblemKind::Shim,
                        format!("the shim is not installed: {error}"),
                    ));
                }
            }
        }
        // What was published once is kept there, whatever is missing by now.
        if let Some(network) = self
            .network
            .clone()
            .filter(|_| problems.is_empty() || self.file.is_published())
        {
            match self.publish(&network, now) {
                Ok(Written { later, .. }) => again.extend(later),
                Err(error) => {
                    failed = true;
                    let text = format!("the runtime's configuration is not published: {error}");
                    problems.push(Problem::new(ProblemKind::Unpublished, text));
                }
            }
        }
        if let Some(before) = self.file.before() {
            let (before, ours) = (before.display(), self.file.path().display());
            let text = format!(
                "{before} sorts before {ours}, and the runtime takes that one: remove or rename it"
            );
            problems.push(Problem::new(ProblemKind::Shadowed, text));
        }
        if let Some((text, until)) = self.file.contested(now) {
            problems.push(Problem::new(ProblemKind::Contested, text));
            again.push(until);
        }
        if failed {
            again.push(now + pause(self.failures));
            self.failures += 1;
        } else {
            self.failures = 0;
        }
        self.status.set(problems, self.file.restored());
        again.into_iter().min()
    }

    fn publish(&mut self, network: &Network, now: Instant) -> io::Result<Written> {
        if !self.file.is_published() {
            // Otherwise the shim would take a DEL for done while the daemon is away.
            remove_if_present(&self.state_dir.join(UNINSTALLED))?;
        }
        self.file.bring(&network.config, now)
    }
}

#[cfg(test)]
mod tests;
