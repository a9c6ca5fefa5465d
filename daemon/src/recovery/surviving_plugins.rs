//! Plugins that still run after their daemon was killed. Such a plugin may create interfaces and
//! take addresses after the DEL of its container, so the container stays locked until the plugin
//! has exited.
//!
//! A surviving plugin has a variable with the ID of the ledger in its environment, which the
//! processes that it starts inherit. No further plugin of the previous daemon can start: its launcher
//! holds the ledger's lock from the order to start a plugin until the plugin runs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::procfs::{none_if_exited, numbered_entries};
use crate::delegate::{Delegates, GuardScope};
use crate::ledger::{Ledger, Planned, Record};

/// The environment variable of plugins that contains [`Ledger::id`].
pub(crate) const LEDGER_VARIABLE: &str = "PLEXUS_LEDGER";

/// A plugin, or a process that a plugin has started.
#[derive(Debug)]
struct SurvivingPlugin {
    pid: String,
    process: OwnedFd,
    verb: String,
    /// Empty for GC and STATUS.
    container_id: String,
    ifname: String,
}

/// The plugin runs of a container that may still be working. A plugin may leave other processes of
/// the container running on purpose.
#[derive(Debug, Default)]
struct RunsInProgress {
    verbs: &'static [&'static str],
    /// The interfaces. `None` for all of them.
    ifnames: Option<BTreeSet<String>>,
}

impl RunsInProgress {
    /// The runs that the records of a container list as in progress.
    fn of(ledger: &Ledger, container_id: &str) -> Self {
        let with = |verbs| Self {
            verbs,
            ifnames: None,
        };
        if container_id.is_empty() {
            return with(&["GC"]);
        }
        let records = records(ledger, container_id);
        if records.iter().any(|record| !record.completed) {
            return with(&["ADD", "DEL"]);
        }
        if records.iter().any(|record| record.deleting) {
            return with(&["DEL"]);
        }
        // The other attachments of a sandbox that was being changed are complete.
        let unfinished = records.iter().flat_map(|record| {
            let attachments = &record.planned.attachments;
            let indexes = record.unfinished_changes().into_iter();
            indexes.map(|index| attachments[index].ifname.clone())
        });
        Self {
            verbs: &["ADD", "DEL"],
            ifnames: Some(unfinished.collect()),
        }
    }

    fn contains(&self, plugin: &SurvivingPlugin) -> bool {
        let ifnames = self.ifnames.as_ref();
        self.verbs.contains(&plugin.verb.as_str())
            && ifnames.is_none_or(|ifnames| ifnames.contains(&plugin.ifname))
    }
}

/// Locks all containers that have surviving plugins, and their networks against GC. Each lock is
/// released when the plugins of the container have exited; plugins that still run after `timeout`
/// are killed. Must be called before any call is served, while all locks are free. Returns only
/// after plugins of GC, which belongs to no container, have exited.
///
/// # Errors
/// An error if the processes cannot be listed, or cannot be waited for, as before Linux 5.3.
pub(crate) async fn lock_containers(
    ledger: &Ledger,
    delegates: &Delegates,
    timeout: Duration,
) -> io::Result<()> {
    let deadline = Instant::now() + timeout;
    let mut containers: BTreeMap<String, Vec<SurvivingPlugin>> = BTreeMap::new();
    for plugin in find(ledger.id()).await? {
        containers
            .entry(plugin.container_id.clone())
            .or_default()
            .push(plugin);
    }
    for (container_id, plugins) in containers {
        let runs = RunsInProgress::of(ledger, &container_id);
        if !plugins.iter().any(|plugin| runs.contains(plugin)) {
            continue;
        }
        let exit = wait_for_exit(ledger.id().to_owned(), container_id.clone(), runs, deadline);
        if container_id.is_empty() {
            exit.await;
            continue;
        }
        let call = format!("a plugin of an earlier plexusd for container {container_id}");
        let lock = ledger.try_lock_container(&container_id, &call);
        let scopes = records(ledger, &container_id).into_iter().map(|record| {
            let Planned {
                pod, attachments, ..
            } = record.planned;
            GuardScope::new(&pod, &attachments)
        });
        let network_locks: Vec<_> = scopes
            .filter_map(|scope| delegates.try_lock_networks(&scope, &call))
            .collect();
        tokio::spawn(async move {
            exit.await;
            drop((lock, network_locks));
        });
    }
    Ok(())
}

fn records(ledger: &Ledger, container_id: &str) -> Vec<Record> {
    let keys = ledger.keys().unwrap_or_default();
    keys.iter()
        .filter(|key| key.container_id == container_id)
        .filter_map(|key| ledger.read(key).ok()?)
        .collect()
}

/// Waits until none of `runs` of the container is left. Kills the plugins that still run at
/// `deadline`.
async fn wait_for_exit(
    ledger_id: String,
    container_id: String,
    runs: RunsInProgress,
    deadline: Instant,
) {
    // Each round lists the processes again: a plugin may have started others, which inherit its
    // variables.
    loop {
        let found = match find(&ledger_id).await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(container_id, %error, "cannot determine whether plugins of an earlier plexusd still run");
                return;
            }
        };
        let plugins: Vec<_> = found
            .into_iter()
            .filter(|plugin| plugin.container_id == container_id && runs.contains(plugin))
            .collect();
        if plugins.is_empty() {
            return;
        }
        for SurvivingPlugin { pid, verb, .. } in &plugins {
            tracing::warn!(
                container_id,
                pid,
                verb,
                "a plugin of an earlier plexusd still runs; waiting for its exit"
            );
        }
        let (plugins, exited) = poll_exit(plugins, Some(deadline)).await;
        if exited {
            continue;
        }
        for plugin in &plugins {
            tracing::error!(
                container_id,
                pid = plugin.pid,
                verb = plugin.verb,
                "a plugin of an earlier plexusd does not exit; killing it"
            );
            // This fails only if the process has just exited.
            let _ = pidfd_send_signal(&plugin.process, Signal::KILL);
        }
        poll_exit(plugins, None).await;
    }
}

/// Waits until all of the plugins have exited, or until `deadline`. Returns whether all have
/// exited.
async fn poll_exit(
    plugins: Vec<SurvivingPlugin>,
    deadline: Option<Instant>,
) -> (Vec<SurvivingPlugin>, bool) {
    let polled = tokio::task::spawn_blocking(move || {
        let exited = plugins.iter().all(|plugin| {
            let timeout = deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()))
                .and_then(|timeout| timeout.try_into().ok());
            // A pidfd is readable once its process has exited.
            let mut fds = [PollFd::new(&plugin.process, PollFlags::IN)];
            retry_on_intr(|| poll(&mut fds, timeout.as_ref())).is_ok_and(|ready| ready > 0)
        });
        (plugins, exited)
    });
    // The closure does not panic, and is cancelled only if the daemon exits.
    polled.await.unwrap_or_else(|_| (Vec::new(), true))
}

async fn find(ledger_id: &str) -> io::Result<Vec<SurvivingPlugin>> {
    let ledger_id = ledger_id.to_owned();
    tokio::task::spawn_blocking(move || scan(&ledger_id))
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

fn scan(ledger_id: &str) -> io::Result<Vec<SurvivingPlugin>> {
    let mut found = Vec::new();
    for process in numbered_entries(Path::new("/proc"))? {
        found.extend(none_if_exited(identify(&process, ledger_id))?.flatten());
    }
    Ok(found)
}

/// Returns the surviving plugin at a path in `/proc`, or `None` if the process is something else.
fn identify(path: &Path, ledger_id: &str) -> io::Result<Option<SurvivingPlugin>> {
    let environ = match std::fs::read(path.join("environ")) {
        // Not a plugin of an earlier daemon with the same privileges, which would be readable.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        environ => environ?,
    };
    let Some([verb, container_id, ifname]) = call_of(&environ, ledger_id) else {
        return Ok(None);
    };
    let pid = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let number = pid
        .parse()
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other(format!("{pid} is not a process ID")))?;
    let process = pidfd_open(number, PidfdFlags::empty())?;
    Ok(Some(SurvivingPlugin {
        pid,
        process,
        verb,
        container_id,
        ifname,
    }))
}

/// Verb, container and interface of a process that has the ID of the ledger in its environment.
fn call_of(environ: &[u8], ledger_id: &str) -> Option<[String; 3]> {
    let variable = |name: &str| {
        let value = environ
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        std::str::from_utf8(value).ok().map(str::to_owned)
    };
    variable(LEDGER_VARIABLE).filter(|value| value == ledger_id)?;
    Some([
        variable("CNI_COMMAND")?,
        variable("CNI_CONTAINERID").unwrap_or_default(),
        variable("CNI_IFNAME").unwrap_or_default(),
    ])
}
