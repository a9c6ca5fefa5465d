//! Proof that a sandbox is gone, without which nothing is torn down that nobody asked to tear down: another boot, or a
//! network namespace that no mount and no task has, seen twice some time apart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::libc;

use crate::capabilities::{Capability, CapabilitySet};
use crate::ledger::{Key, Record};
use crate::model::NetnsId;
use crate::netns;

/// Up to this many sandboxes may look gone at once whatever their share: on a node with few pods, one is more than a
/// fifth.
const FEW: usize = 4;
/// More than one in this many is not believed.
const SHARE: usize = 5;

/// Which of the network namespaces `wanted` exist: those that a task is in, and those that are mounted anywhere. Ends
/// as soon as all are found, which the first mount table usually does. Blocking.
///
/// It sees the processes of this `/proc`: the daemon has to share the host's PID namespace.
///
/// # Errors
/// Without `CAP_SYS_PTRACE`, since tasks of others would then look as if they had no namespace; or as reading `/proc`
/// fails.
pub(crate) fn living_netns(wanted: &BTreeSet<NetnsId>) -> io::Result<BTreeSet<NetnsId>> {
    if !CapabilitySet::own()?.has(Capability::SysPtrace) {
        let text = "cannot tell which network namespaces are in use: plexusd needs the capability SYS_PTRACE";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    // A thread of its own, which enters the namespaces that it finds.
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("evidence".to_owned())
            .spawn_scoped(scope, || scan(wanted))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the look at /proc panicked")))
    })
}

fn scan(wanted: &BTreeSet<NetnsId>) -> io::Result<BTreeSet<NetnsId>> {
    let mut scan = Scan {
        missing: BTreeMap::new(),
        living: BTreeSet::new(),
        mount_tables: BTreeSet::new(),
    };
    for id in wanted {
        scan.missing.entry(id.ino).or_default().push(*id);
    }
    let processes = numbered(Path::new("/proc"))?;
    for process in &processes {
        if scan.missing.is_empty() {
            break;
        }
        scan.task(process)?;
    }
    // Threads mostly share what their process has; look at them last.
    for process in &processes {
        if scan.missing.is_empty() {
            break;
        }
        for task in unless_gone(numbered(&process.join("task")))?.unwrap_or_default() {
            scan.task(&task)?;
        }
    }
    Ok(scan.living)
}

struct Scan {
    /// By inode.
    missing: BTreeMap<u64, Vec<NetnsId>>,
    living: BTreeSet<NetnsId>,
    /// Mount namespace and root of the mount tables that were read. A table lacks what is outside its reader's root.
    mount_tables: BTreeSet<(PathBuf, PathBuf)>,
}

impl Scan {
    fn task(&mut self, task: &Path) -> io::Result<()> {
        let path = task.join("ns/net");
        if let Some(inode) = link(&path)?
            .as_deref()
            .and_then(Path::to_str)
            .and_then(netns_inode)
        {
            self.found(inode, &path);
        }
        // Anybody may read a mount table, also where the links are closed.
        let key = link(&task.join("ns/mnt"))?.zip(link(&task.join("root"))?);
        if key
            .as_ref()
            .is_some_and(|key| self.mount_tables.contains(key))
        {
            return Ok(());
        }
        if let Some(table) = unless_gone(fs::read(task.join("mountinfo")))? {
            for (inode, mount_point) in mounted_netns(&String::from_utf8_lossy(&table)) {
                self.found(
                    inode,
                    &task.join("root").join(mount_point.trim_start_matches('/')),
                );
            }
            self.mount_tables.extend(key);
        }
        Ok(())
    }

    /// There is a namespace with this inode at `path`. Those of its number that have another cookie are gone.
    fn found(&mut self, inode: u64, path: &Path) {
        let Some(wanted) = self.missing.get(&inode) else {
            return;
        };
        let same: Vec<_> = match unless_gone(netns::identify(path)) {
            Ok(Some(found)) => wanted
                .iter()
                .filter(|id| id.may_equal(found))
                .copied()
                .collect(),
            Ok(None) => return,
            // It cannot be entered: then there is no proof that it is another one.
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "a network namespace cannot be identified");
                wanted.clone()
            }
        };
        // A number belongs to one namespace at a time: who is not the same is missing.
        if !same.is_empty() {
            self.living.extend(same);
            self.missing.remove(&inode);
        }
    }
}

/// Where a link of a task leads. Nothing where the task has ended, or is closed to us although we may look at tasks:
/// then it belongs to the outside of our user namespace, or to a security module.
fn link(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_link(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        link => unless_gone(link),
    }
}

/// The entries of a directory whose names are numbers: processes, or tasks.
pub(super) fn numbered(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit)
        {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Nothing where `/proc` says that the task has ended: directories vanish, open files answer ESRCH, and the mount table
/// of a zombie EINVAL.
pub(super) fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The network namespaces that a mount table has, and where: their root is `net:[inode]`.
fn mounted_netns(mountinfo: &str) -> impl Iterator<Item = (u64, String)> {
    mountinfo.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        Some((netns_inode(fields.next()?)?, unescape(fields.next()?)))
    })
}

/// Blanks, tabs, line breaks and backslashes of a path are octal in mount tables.
fn unescape(path: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(path.to_owned(), |path, (escape, plain)| {
        path.replace(escape, plain)
    })
}

fn netns_inode(text: &str) -> Option<u64> {
    text.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// What is known about the sandbox of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sandbox {
    /// The key of the record.
    pub(crate) key: Key,
    /// The boot during which it was made.
    pub(crate) boot_id: String,
    /// Its network namespace; none where that is not known, and then only another boot proves its end.
    pub(crate) netns: Option<NetnsId>,
    /// Whether its pod is known to be deleted: then nobody wonders that its namespace is gone.
    pub(crate) pod_deleted: bool,
}

impl Sandbox {
    /// The sandbox of a record.
    pub(crate) fn new(record: &Record, pod_deleted: bool) -> Self {
        let planned = &record.planned;
        Self {
            key: (planned.container_id.clone(), planned.ifname.clone()),
            boot_id: planned.boot_id.clone(),
            netns: planned.netns_id,
            pod_deleted,
        }
    }
}

/// The sandboxes that were missing when last looked: since when, and which network namespace.
pub(crate) type Suspects = BTreeMap<Key, Suspect>;

/// A sandbox that was missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Suspect {
    /// Its network namespace.
    pub(crate) netns: NetnsId,
    /// When it was first missing.
    pub(crate) since: Instant,
}

/// What follows from one look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The records whose sandboxes are proved to be gone.
    pub(crate) dead: Vec<Key>,
    /// For the next look.
    pub(crate) suspects: Suspects,
    /// Set where too many of this boot look gone at once to be true. None of them is dead or suspected then.
    pub(crate) disbelieved: Option<Disbelieved>,
}

/// Too many sandboxes look gone at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{gone} of {all} sandboxes of this boot look gone at once, which is more than a fifth; nothing is cleaned up. \
     Check that plexusd shares the host's PID namespace"
)]
pub(crate) struct Disbelieved {
    /// How many look gone.
    pub(crate) gone: usize,
    /// Of how many.
    pub(crate) all: usize,
}

/// Judges the sandboxes of all records. `living` has those of their network namespaces that exist, as
/// [`living_netns`] finds them, and `suspects` is what the last look returned. Pure.
///
/// A sandbox of another boot is dead at once. One of this boot is dead when its network namespace is missing now and
/// was at every look since one at least `min_gap` ago. Where more than a fifth of this boot's are missing, and more
/// than four, the look is not believed, and sightings start anew. Those whose pods are deleted are no reason for doubt:
/// after our configuration was withdrawn, the runtime deletes pods by another one, and we are not told.
pub(crate) fn judge(
    sandboxes: &[Sandbox],
    current_boot_id: &str,
    living: &BTreeSet<NetnsId>,
    suspects: &Suspects,
    now: Instant,
    min_gap: Duration,
) -> Judgement {
    let (this_boot, earlier): (Vec<_>, Vec<_>) = sandboxes
        .iter()
        .partition(|sandbox| sandbox.boot_id == current_boot_id);
    let mut judgement = Judgement {
        dead: earlier
            .into_iter()
            .map(|sandbox| sandbox.key.clone())
            .collect(),
        ..Judgement::default()
    };
    let missing: Vec<_> = this_boot
        .iter()
        .filter_map(|sandbox| {
            Some((
                sandbox,
                sandbox.netns.filter(|netns| !living.contains(netns))?,
            ))
        })
        .collect();
    let unexpected = missing
        .iter()
        .filter(|(sandbox, _)| !sandbox.pod_deleted)
        .count();
    if unexpected > FEW && unexpected * SHARE > this_boot.len() {
        judgement.disbelieved = Some(Disbelieved {
            gone: unexpected,
            all: this_boot.len(),
        });
        return judgement;
    }
    for (Sandbox { key, .. }, netns) in missing {
        // A key can come back with another sandbox.
        let earlier = suspects.get(key).filter(|suspect| suspect.netns == netns);
        let since = earlier.map_or(now, |suspect| suspect.since);
        if earlier.is_some() && now.saturating_duration_since(since) >= min_gap {
            judgement.dead.push(key.clone());
        }
        judgement
            .suspects
            .insert(key.clone(), Suspect { netns, since });
    }
    judgement
}

#[cfg(test)]
mod tests;
