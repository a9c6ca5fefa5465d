//! Installation of Plexus on the node: the shim, and the configuration that makes the runtime
//! execute it (C-25).
//!
//! The configuration is published only when it can be used: pods, definitions and the default
//! network are known, and the shim is in place (K-069). Both files are restored when another
//! program removes or changes them, and both stay when the daemon exits: without them the runtime
//! would start pods with whatever configuration is left (decisions 18 and 22).

mod check;
mod config_file;
mod conflist;
mod marker;
mod remaining;
mod restore_limiter;
mod shim;
mod status;
mod uninstall;

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plexus_api::cni::{CniError, Code, NetworkConfig};
use plexus_api::json::MAX_CONFIG;
use plexus_api::wire::UNINSTALLED;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::atomic_file::remove_if_present;
use crate::backoff::Backoff;
use crate::cluster::Store;
use crate::config::{Fields, Settings};
use crate::dir_watcher::DirWatcher;
use crate::gather::GatherError;
use crate::gather::default_network::DefaultNetwork;
use crate::model::Network;
use crate::problem::{Problem, remedy_for_dir};
use crate::regular_file;
use crate::telemetry::ChangeFilter;
pub(crate) use check::installation_problems;
use config_file::ConfigFile;
pub(crate) use marker::UninstallMarker;
use shim::Shim;

pub use status::ProblemKind;
pub(crate) use status::{InstallProblem, InstallStatus};
pub(crate) use uninstall::Uninstaller;

/// The name of the shim in `shimDir`, which is also the plugin type in our configuration.
pub(crate) const SHIM: &str = "plexus";
/// The longest pause between retries of a failed installation or removal.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The path of the runtime's configuration. `None` if Plexus does not publish one.
pub(crate) fn config_path(settings: &Settings) -> Option<PathBuf> {
    let publish = settings.publish.as_ref()?;
    Some(publish.dir.join(config_file::FILE))
}

/// The path of the installed shim. `None` if Plexus does not install the shim.
pub(crate) fn shim_path(settings: &Settings) -> Option<PathBuf> {
    settings.shim_dir.as_ref().map(|dir| dir.join(SHIM))
}

/// The published configuration, as the runtime reads it.
///
/// # Errors
/// [`Code::NotAvailable`] if the configuration is missing or cannot be used.
pub(crate) async fn published(settings: &Settings) -> Result<NetworkConfig, CniError> {
    let not_available = |reason: String| {
        CniError::new(
            Code::NotAvailable,
            format!("the runtime's configuration {reason}"),
        )
    };
    let path = config_path(settings).ok_or_else(|| not_available("is not published".to_owned()))?;
    let unusable = |error: &dyn Display| not_available(format!("{}: {error}", path.display()));
    let file = path.clone();
    let read = move || regular_file::read(&file, MAX_CONFIG as u64);
    let text = tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|panic| Err(std::io::Error::other(panic)))
        .map_err(|error| unusable(&error))?;
    conflist::parse(&String::from_utf8_lossy(&text))
        .and_then(NetworkConfig::require_plugin)
        .map_err(|error| unusable(&error))
}

/// The outcome of reconciling a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reconciled {
    /// The file was already correct.
    Unchanged,
    /// The file was written.
    Written,
    /// The file is not correct, but must not be written before this time.
    RetryAt(Instant),
}

/// Installs the shim and the runtime's configuration, as far as the settings enable that, and keeps
/// both in place.
#[derive(Debug)]
pub(crate) struct Installer {
    file: Option<ConfigFile>,
    shim: Option<Shim>,
    state_dir: PathBuf,
    /// The marker of an earlier uninstall. `None` once the marker is removed.
    marker: Option<UninstallMarker>,
    store: Store,
    default_network: DefaultNetwork,
    /// The last known default network: the published configuration stays when the default network
    /// disappears.
    network: Option<Arc<Network>>,
    backoff: Backoff,
    status: InstallStatus,
    logged: ChangeFilter,
}

impl Installer {
    /// `fields` are the keys of the daemon's configuration, and `shim` is our own copy of the shim.
    pub(crate) fn new(
        settings: &Settings,
        fields: &Fields,
        shim: PathBuf,
        store: &Store,
        default_network: &DefaultNetwork,
        status: &InstallStatus,
    ) -> Self {
        let file = |publish| ConfigFile::new(publish, fields);
        Self {
            file: settings.publish.clone().map(file),
            shim: settings.shim_dir.clone().map(|dir| Shim::new(shim, dir)),
            state_dir: settings.state_dir.clone(),
            marker: Some(UninstallMarker::new(&settings.state_dir)),
            store: store.clone(),
            default_network: default_network.clone(),
            network: None,
            backoff: Backoff::up_to(LONGEST_PAUSE),
            status: status.clone(),
            logged: ChangeFilter::default(),
        }
    }

    /// Runs until `stop` is cancelled. Installed files stay in place.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.store.changes();
        while !self.store.is_synced() {
            tokio::select! {
                () = changes.next() => {}
                () = stop.cancelled() => return,
            }
        }
        let mut watcher = DirWatcher::new();
        watcher.set(
            (self.file.iter().map(ConfigFile::dir))
                .chain(self.shim.iter().map(Shim::dir))
                .map(PathBuf::from)
                .collect(),
        );
        // Reconciles after each change in the directories or of the default network.
        loop {
            let retry = tokio::task::block_in_place(|| self.reconcile());
            tokio::select! {
                _ = watcher.changed() => {}
                () = self.default_network.changed() => {}
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Installs missing and changed files, and reports problems. Returns the time of the next
    /// reconciliation if no change comes before, or `None` if none is needed. Blocking.
    fn reconcile(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut findings = Findings::default();
        // Nothing is installed while the marker exists: a daemon that takes over would remove it.
        if let Err(error) = self.clear_marker() {
            findings.failed = true;
            let text = format!("the marker of an earlier uninstall cannot be removed: {error}");
            let problem = Problem::new(text, remedy_for_dir("the directory (stateDir)", &error));
            findings.add(ProblemKind::NotChecked, problem);
        } else {
            self.reconcile_files(now, &mut findings);
        }
        if findings.failed {
            findings
                .retries
                .push(now + self.backoff.next(Duration::ZERO));
        } else {
            self.backoff.reset();
        }
        self.report(findings.problems);
        findings.retries.into_iter().min()
    }

    fn clear_marker(&mut self) -> io::Result<()> {
        if let Some(marker) = &self.marker {
            marker.clear()?;
            self.marker = None;
        }
        Ok(())
    }

    fn reconcile_files(&mut self, now: Instant, findings: &mut Findings) {
        if let Some(shim) = &mut self.shim {
            let outcome = shim.reconcile(now);
            if let Ok(Reconciled::RetryAt(_)) = outcome {
                findings.add(ProblemKind::ShimNotInstalled, shim.conflict());
            }
            findings.add_outcome(ProblemKind::ShimNotInstalled, outcome);
        }
        let Some(file) = &mut self.file else {
            if let Err(error) = self.default_network.for_call() {
                findings.add(ProblemKind::NoDefaultNetwork, no_default_network(&error));
            }
            return;
        };
        match self.default_network.current() {
            Ok(network) => self.network = Some(network),
            Err(error) => findings.add(ProblemKind::NoDefaultNetwork, no_default_network(&error)),
        }
        // A published configuration is kept in place even if something is missing now.
        if let Some(network) = &self.network
            && (findings.problems.is_empty() || file.is_published())
        {
            let outcome = publish(file, network, &self.state_dir, now);
            findings.add_outcome(ProblemKind::ConfigNotPublished, outcome);
        }
        if let Some(problem) = file.not_first() {
            findings.add(ProblemKind::ConfigNotFirst, problem);
        }
        if let Some((problem, end)) = file.conflict(now) {
            findings.add(ProblemKind::ConfigConflict, problem);
            findings.retries.push(end);
        }
    }

    /// Publishes the problems, and logs the new ones.
    fn report(&mut self, problems: Vec<InstallProblem>) {
        for found in &problems {
            let text = found.problem.to_string();
            if self.logged.is_new(&text) {
                let prefix = if found.is_fatal() { "not ready: " } else { "" };
                tracing::error!("{prefix}{text}");
            }
        }
        self.logged.end_round();
        let restored = self.file.as_ref().map_or(0, ConfigFile::restored);
        self.status.set(problems, restored);
    }
}

fn publish(
    file: &mut ConfigFile,
    network: &Network,
    state_dir: &Path,
    now: Instant,
) -> Result<Reconciled, Problem> {
    let not_published = |dir, error: &io::Error| {
        let text = format!("the runtime's configuration is not published: {error}");
        Problem::new(text, remedy_for_dir(dir, error))
    };
    if !file.is_published() {
        // As long as this file exists, the shim answers DEL with success if no daemon is running.
        remove_if_present(&state_dir.join(UNINSTALLED))
            .map_err(|error| not_published("the directory (stateDir)", &error))?;
    }
    file.reconcile(&network.config, now)
        .map_err(|error| not_published("the directory (cniConfigDir)", &error))
}

fn no_default_network(error: &GatherError) -> Problem {
    Problem::new(error.to_string(), error.remedy_of_default_network())
}

/// The findings of one round of [`Installer::reconcile`].
#[derive(Debug, Default)]
struct Findings {
    problems: Vec<InstallProblem>,
    retries: Vec<Instant>,
    /// Whether an operation failed. Such an operation is retried after a pause, because the watches
    /// may not notice when the cause is gone.
    failed: bool,
}

impl Findings {
    fn add(&mut self, kind: ProblemKind, problem: Problem) {
        self.problems.push(InstallProblem { kind, problem });
    }

    fn add_outcome(&mut self, kind: ProblemKind, outcome: Result<Reconciled, Problem>) {
        match outcome {
            Ok(Reconciled::Unchanged | Reconciled::Written) => {}
            Ok(Reconciled::RetryAt(time)) => self.retries.push(time),
            Err(problem) => {
                self.failed = true;
                self.add(kind, problem);
            }
        }
    }
}

#[cfg(test)]
mod tests;
