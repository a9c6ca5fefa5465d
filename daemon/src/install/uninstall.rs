//! Uninstallation, in an order in which pods can start and stop at any time (decision 11):
//!
//! 1. Write the marker `uninstalling`. From then on only a daemon that is started later installs
//!    Plexus again (decision 40).
//! 2. Remove our configuration as soon as the runtime has another one to load. New pods then start
//!    without Plexus.
//! 3. Keep serving, so that the pods that Plexus attached can be deleted. A runtime that has
//!    cached our configuration still finds the shim.
//! 4. When no pod is left that Plexus attached, write the file `uninstalled`. A shim that is still
//!    executed then answers DEL with success.
//! 5. Remove the shim.
//!
//! The uninstallation may be interrupted at any point and started again. If its daemon ends, a
//! daemon that stands by continues.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_api::wire::{LEDGER_DIR, SPOOL_DIR, UNINSTALLED};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::config_file::ConfigFile;
use super::marker::UninstallMarker;
use super::remaining::Remaining;
use super::status::{InstallProblem, InstallStatus, ProblemKind};
use super::{LONGEST_PAUSE, SHIM};
use crate::atomic_file::{remove_if_present, temporary_path, with_path};
use crate::backoff::Backoff;
use crate::cluster::{Store, StoreChanges};
use crate::config::{Fields, Settings};
use crate::dir_watcher::DirWatcher;
use crate::ledger::{Ledger, LedgerError};
use crate::problem::{Problem, remedy_for_dir};
use crate::telemetry::ChangeFilter;

/// Removes what [`super::Installer`] installed.
#[derive(Debug)]
pub(crate) struct Uninstaller {
    file: Option<ConfigFile>,
    shim: Option<PathBuf>,
    state_dir: PathBuf,
    marker: UninstallMarker,
    ledger: Ledger,
    /// The pods of the node. `None` without a cluster: a pod may then have no manifest.
    store: Option<Store>,
    status: InstallStatus,
    /// Whether this daemon was started to install Plexus.
    restart_required: bool,
}

impl Uninstaller {
    /// `restart_required` is whether this daemon was started to install Plexus. Such a daemon is
    /// never ready.
    pub(crate) fn new(
        settings: &Settings,
        fields: &Fields,
        ledger: &Ledger,
        store: Option<&Store>,
        status: &InstallStatus,
        restart_required: bool,
    ) -> Self {
        Self {
            file: settings
                .publish
                .clone()
                .map(|publish| ConfigFile::new(publish, fields)),
            shim: settings.shim_dir.as_ref().map(|dir| dir.join(SHIM)),
            state_dir: settings.state_dir.clone(),
            marker: UninstallMarker::new(&settings.state_dir),
            ledger: ledger.clone(),
            store: store.cloned(),
            status: status.clone(),
            restart_required,
        }
    }

    /// Runs until `stop` is cancelled. The status has a problem until the uninstall is complete.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        if self.restart_required {
            tracing::warn!("{}", restart_required());
        }
        while let Err(error) = self.uninstall(&stop).await {
            let text = format!("cannot uninstall Plexus: {error}");
            let remedy = remedy_for_dir("the directory", &error);
            let problem = Problem::new(text, format!("{remedy}; plexusd tries again"));
            tracing::error!("{problem}");
            self.set_waiting(Some(problem));
            let pause = backoff.next(Duration::ZERO);
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Uninstalls, and then waits until `stop` is cancelled.
    async fn uninstall(&self, stop: &CancellationToken) -> io::Result<()> {
        // Not interrupted by `stop`: nothing serves a configuration that stays behind.
        tokio::task::block_in_place(|| self.begin())?;
        let mut watcher = DirWatcher::new();
        let uninstall = async {
            self.remove_config(&mut watcher).await?;
            self.remove_shim(&mut watcher).await
        };
        match stop.run_until_cancelled(uninstall).await {
            Some(Err(error)) => Err(error),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Writes the marker, and removes the configuration if the runtime has another one.
    fn begin(&self) -> io::Result<()> {
        self.marker.set()?;
        self.file
            .as_ref()
            .map_or(Ok(None), ConfigFile::unpublish)
            .map(drop)
    }

    /// Removes the configuration as soon as the runtime has another one.
    async fn remove_config(&self, watcher: &mut DirWatcher) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        watcher.set(vec![file.dir().to_owned()]);
        let mut logged = ChangeFilter::default();
        while let Some(reason) = tokio::task::block_in_place(|| file.unpublish())? {
            if logged.is_new(&reason) {
                tracing::warn!("uninstall is waiting: {reason}");
            }
            logged.end_round();
            let remedy = "install the configuration of another network plugin";
            self.set_waiting(Some(Problem::new(reason, remedy)));
            watcher.changed().await;
        }
        Ok(())
    }

    /// Removes the shim when no record is left. Continues to watch: a runtime that has cached our
    /// configuration and has its own copy of the shim may still attach a pod.
    async fn remove_shim(&self, watcher: &mut DirWatcher) -> io::Result<()> {
        watcher.set(
            [LEDGER_DIR, SPOOL_DIR]
                .map(|dir| self.state_dir.join(dir))
                .to_vec(),
        );
        let (mut waiting_logged, mut completion_logged) = (false, false);
        let mut records = Remaining::default();
        let mut pods = self.store.as_ref().map(Store::changes);
        loop {
            let remaining = self.try_remove_shim(&mut records).await?;
            match &remaining {
                Some(remaining) if !std::mem::replace(&mut waiting_logged, true) => {
                    tracing::info!(
                        "uninstall is waiting {remaining}; `plexusd probe ready` shows what is left"
                    );
                }
                None if !std::mem::replace(&mut completion_logged, true) => {
                    log_completion(records.settled(), &self.state_dir);
                }
                _ => {}
            }
            completion_logged &= remaining.is_none();
            self.set_waiting(remaining.map(|remaining| {
                let text = format!("uninstall is waiting {remaining}");
                Problem::new(text, "delete the pods, or wait until they end")
            }));
            tokio::select! {
                _ = watcher.changed() => {}
                () = next_change(&mut pods) => {}
            }
        }
    }

    /// Writes the marker and removes the shim. If pods are left, does nothing and returns their
    /// description.
    async fn try_remove_shim(&self, records: &mut Remaining) -> io::Result<Option<String>> {
        let mut remaining = |keys: Result<_, LedgerError>| {
            let keys = keys.map_err(io::Error::other)?;
            tokio::task::block_in_place(|| {
                records.describe(&self.ledger, keys, self.store.as_ref(), &self.state_dir)
            })
        };
        let waiting = remaining(self.ledger.keys())?;
        if waiting.is_some() {
            return Ok(waiting);
        }
        // With the lock held, no ADD can start.
        let locked = self.ledger.lock_all().await;
        let waiting = remaining(locked.keys())?;
        if waiting.is_some() {
            return Ok(waiting);
        }
        let marker = self.state_dir.join(UNINSTALLED);
        // Writing the marker again would wake the watch on the directory.
        if !marker.exists() {
            std::fs::write(&marker, "").map_err(|error| with_path(&marker, &error))?;
        }
        if let Some(shim) = &self.shim {
            remove_if_present(&temporary_path(shim))?;
            remove_if_present(shim)?;
        }
        Ok(None)
    }

    fn set_waiting(&self, problem: Option<Problem>) {
        let restart_required = self.restart_required.then(restart_required);
        let problems = restart_required
            .map(|problem| (ProblemKind::RestartRequired, problem))
            .into_iter()
            .chain(problem.map(|problem| (ProblemKind::Uninstalling, problem)))
            .map(|(kind, problem)| InstallProblem { kind, problem });
        self.status.set(problems.collect(), 0);
    }
}

/// Waits for the next change of the pods.
async fn next_change(pods: &mut Option<StoreChanges>) {
    match pods {
        Some(pods) => pods.next().await,
        None => std::future::pending().await,
    }
}

/// The problem of a daemon that was started to install Plexus and continues an uninstall instead.
fn restart_required() -> Problem {
    Problem::new(
        "an uninstall of Plexus has begun since this plexusd was started, so it serves DEL and installs nothing",
        "restart it to install Plexus again",
    )
}

fn log_completion(records: usize, state_dir: &Path) {
    if records == 0 {
        tracing::info!("uninstall is complete: nothing of Plexus is left on this node");
    } else {
        tracing::warn!(
            records,
            "uninstall is complete, but DEL failed for sandboxes that are gone; their records stay in {}, and `plexusd \
             ledger list` shows them",
            state_dir.display()
        );
    }
}
