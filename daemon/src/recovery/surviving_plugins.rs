//! Plugins that a killed daemon has left running. Nothing kills them with it, so that an ADD may still make interfaces
//! and take addresses after its DEL. Their containers are not touched until they have ended.
//!
//! They are known by a variable in their environment, which what they start inherits. The daemon before this one has
//! none that is about to start: a child shares the ledger's lock with it until it executes the plugin.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::evidence::{numbered, unless_gone};
use crate::delegate::Delegates;
use crate::ledger::{Ledger, Record};

/// The name of the variable; its value is [`Ledger::mark`].
pub(crate) const MARK: &str = "PLEXUS_LEDGER";

/// A plugin, or what it has started.
#[derive(Debug)]
struct SurvivingPlugin {
    pid: String,
    process: OwnedFd,
    verb: String,
    /// Empty for GC and STATUS.
    container_id: String,
}

/// Holds the lanes of all containers for which a plugin of an earlier daemon still runs, each until those have ended, and
/// keeps GC from their networks; what runs on after `patience` is killed. To be called before anything is served. Waits
/// itself for GC, which belongs to no container.
///
/// # Errors
/// As looking at the processes fails. A kernel before 5.3 cannot tell the end of another's child.
pub(crate) async fn hold(
    ledger: &Ledger,
    delegates: &Delegates,
    patience: Duration,
) -> io::Result<()> {
    let end = Instant::now() + patience;
    let mut containers: BTreeMap<String, Vec<SurvivingPlugin>> = BTreeMap::new();
    for stray in find(ledger.mark()).await? {
        containers
            .entry(stray.container_id.clone())
            .or_default()
            .push(stray);
    }
    for (container_id, strays) in containers {
        let wanted = verbs_in_flight(ledger, &container_id);
        if !strays
            .iter()
            .any(|stray| wanted.contains(&stray.verb.as_str()))
        {
            continue;
        }
        let outlast = outlast(ledger.mark().to_owned(), container_id.clone(), wanted, end);
        if container_id.is_empty() {
            outlast.await;
            continue;
        }
        let lock = ledger.lock_container(&container_id).await;
        let records = records(ledger, &container_id);
        let attachments: Vec<_> = records
            .into_iter()
            .flat_map(|record| record.planned.attachments)
            .collect();
        let call = format!("a plugin of an earlier plexusd for container {container_id}");
        let pass = delegates.lock_networks(&call, &attachments).await;
        tokio::spawn(async move {
            outlast.await;
            drop((lock, pass));
        });
    }
    Ok(())
}

/// The context of which a plugin may still be at work. Others of that container have left a process behind on purpose,
/// as a plugin may.
fn verbs_in_flight(ledger: &Ledger, container_id: &str) -> &'static [&'static str] {
    if container_id.is_empty() {
        return &["GC"];
    }
    let records = records(ledger, container_id);
    if records.iter().any(|record| !record.completed) {
        &["ADD", "DEL"]
    } else if records.iter().any(|record| record.deleting) {
        &["DEL"]
    } else {
        &[]
    }
}

fn records(ledger: &Ledger, container_id: &str) -> Vec<Record> {
    let keys = ledger.keys().unwrap_or_default();
    let own = keys.iter().filter(|(id, _)| id == container_id);
    own.filter_map(|(id, ifname)| ledger.read(id, ifname).ok()?)
        .collect()
}

/// Waits until no plugin of these context runs for the container, and kills them at `end`.
async fn outlast(mark: String, container_id: String, context: &[&str], end: Instant) {
    loop {
        let strays = match find(&mark).await {
            Ok(strays) => strays,
            Err(error) => {
                tracing::error!(container_id, %error, "cannot tell whether plugins of an earlier plexusd still run");
                return;
            }
        };
        // They may have started others meanwhile, which inherit the variables.
        let strays: Vec<_> = strays
            .into_iter()
            .filter(|stray| {
                stray.container_id == container_id && context.contains(&stray.verb.as_str())
            })
            .collect();
        if strays.is_empty() {
            return;
        }
        for SurvivingPlugin { pid, verb, .. } in &strays {
            tracing::warn!(
                container_id,
                pid,
                verb,
                "a plugin of an earlier plexusd still runs; waiting for its end"
            );
        }
        let left = Some(end.saturating_duration_since(Instant::now()));
        let (strays, ended) = wait(strays, left).await;
        if !ended {
            for SurvivingPlugin {
                pid, process, verb, ..
            } in &strays
            {
                tracing::error!(
                    container_id,
                    pid,
                    verb,
                    "a plugin of an earlier plexusd does not end; killing it"
                );
                // It fails only where it has just ended.
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
            wait(strays, None).await;
        }
    }
}

/// Waits until all of them have ended, at most for `time`.
async fn wait(
    strays: Vec<SurvivingPlugin>,
    time: Option<Duration>,
) -> (Vec<SurvivingPlugin>, bool) {
    let end = time.map(|time| Instant::now() + time);
    let waited = tokio::task::spawn_blocking(move || {
        let ended = strays.iter().all(|stray| {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| left.try_into().ok());
            // A descriptor of a process is readable once it has ended.
            let mut fds = [PollFd::new(&stray.process, PollFlags::IN)];
            retry_on_intr(|| poll(&mut fds, left.as_ref())).is_ok_and(|ready| ready > 0)
        });
        (strays, ended)
    });
    // It panics nowhere, and is cancelled only with the daemon.
    waited.await.unwrap_or_else(|_| (Vec::new(), true))
}

async fn find(mark: &str) -> io::Result<Vec<SurvivingPlugin>> {
    let mark = mark.to_owned();
    tokio::task::spawn_blocking(move || scan(&mark))
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

fn scan(mark: &str) -> io::Result<Vec<SurvivingPlugin>> {
    let mut strays = Vec::new();
    for path in numbered(Path::new("/proc"))? {
        strays.extend(unless_gone(stray(&path, mark))?.flatten());
    }
    Ok(strays)
}

fn stray(path: &Path, mark: &str) -> io::Result<Option<SurvivingPlugin>> {
    // ExclusiveNetworkLock to us: not started by a daemon with our rights.
    let environ = match std::fs::read(path.join("environ")) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        environ => environ?,
    };
    let Some((verb, container_id)) = marked(&environ, mark) else {
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
        .ok_or_else(|| io::Error::other("no process"))?;
    let process = pidfd_open(number, PidfdFlags::empty())?;
    Ok(Some(SurvivingPlugin {
        pid,
        process,
        verb,
        container_id,
    }))
}

/// Verb and container of a process with our mark.
fn marked(environ: &[u8], mark: &str) -> Option<(String, String)> {
    let variable = |name: &str| {
        let mut variables = environ.split(|byte| *byte == 0);
        let value = variables
            .find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        std::str::from_utf8(value).ok().map(str::to_owned)
    };
    variable(MARK).filter(|value| value == mark)?;
    Some((
        variable("CNI_COMMAND")?,
        variable("CNI_CONTAINERID").unwrap_or_default(),
    ))
}
