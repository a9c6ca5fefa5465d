//! Scan of `/proc` for network namespaces that still exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io, thread};

use super::procfs::{none_if_exited, numbered_entries};
use crate::capabilities::{Capability, CapabilitySet};
use crate::model::NetnsId;
use crate::netns;

/// Returns the `wanted` network namespaces that still exist: a task is in them, or they are
/// mounted. Stops as soon as all are found, usually at the first mount table. Blocking.
///
/// The scan sees the processes of the daemon's own `/proc`: the daemon must share the host's PID
/// namespace.
///
/// # Errors
/// An error if `CAP_SYS_PTRACE` is missing, since the tasks of other users would then appear to
/// have no namespace, or if `/proc` cannot be read.
pub(crate) fn existing_netns(wanted: &BTreeSet<NetnsId>) -> io::Result<BTreeSet<NetnsId>> {
    if !CapabilitySet::own()?.has(Capability::SysPtrace) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "plexusd needs the capability SYS_PTRACE to see which network namespaces are in use",
        ));
    }
    // A dedicated thread, because identifying a namespace enters it.
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns-scan".to_owned())
            .spawn_scoped(scope, || scan(wanted))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the scan of /proc panicked")))
    })
}

fn scan(wanted: &BTreeSet<NetnsId>) -> io::Result<BTreeSet<NetnsId>> {
    let mut scan = Scan {
        missing: BTreeMap::new(),
        existing: BTreeSet::new(),
        mount_tables: BTreeSet::new(),
    };
    for id in wanted {
        scan.missing.entry(id.ino).or_default().push(*id);
    }
    let processes = numbered_entries(Path::new("/proc"))?;
    for process in &processes {
        if scan.missing.is_empty() {
            break;
        }
        scan.visit_task(process)?;
    }
    // Most threads share the namespaces of their process, so they are visited last.
    for process in &processes {
        if scan.missing.is_empty() {
            break;
        }
        let tasks = none_if_exited(numbered_entries(&process.join("task")))?;
        for task in tasks.unwrap_or_default() {
            scan.visit_task(&task)?;
        }
    }
    Ok(scan.existing)
}

struct Scan {
    /// Namespaces not found yet, by inode.
    missing: BTreeMap<u64, Vec<NetnsId>>,
    existing: BTreeSet<NetnsId>,
    /// Mount namespace and root directory of the tasks whose mount table was read. A mount table
    /// lacks what is outside the root directory of the task.
    mount_tables: BTreeSet<(PathBuf, PathBuf)>,
}

impl Scan {
    fn visit_task(&mut self, task: &Path) -> io::Result<()> {
        let path = task.join("ns/net");
        if let Some(inode) = read_link(&path)?
            .as_deref()
            .and_then(Path::to_str)
            .and_then(netns_inode)
        {
            self.found(inode, &path);
        }
        // Mount tables are readable even if the links are not.
        let table_id = read_link(&task.join("ns/mnt"))?.zip(read_link(&task.join("root"))?);
        if table_id
            .as_ref()
            .is_some_and(|id| self.mount_tables.contains(id))
        {
            return Ok(());
        }
        if let Some(table) = none_if_exited(fs::read(task.join("mountinfo")))? {
            for (inode, mount_point) in mounted_netns(&String::from_utf8_lossy(&table)) {
                let path = task.join("root").join(mount_point.trim_start_matches('/'));
                self.found(inode, &path);
            }
            self.mount_tables.extend(table_id);
        }
        Ok(())
    }

    /// Records that the namespace with this inode exists, at `path`. Wanted namespaces with the
    /// same inode but another cookie are gone: the kernel has reused the inode.
    fn found(&mut self, inode: u64, path: &Path) {
        let Some(wanted) = self.missing.get(&inode) else {
            return;
        };
        let same: Vec<_> = match none_if_exited(netns::identify(path)) {
            Ok(Some(found)) => wanted
                .iter()
                .filter(|id| id.may_equal(found))
                .copied()
                .collect(),
            Ok(None) => return,
            // Without the cookie there is no proof that this is another namespace.
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "a network namespace cannot be identified");
                wanted.clone()
            }
        };
        // An inode belongs to one namespace at a time, so the others with this inode are gone.
        if !same.is_empty() {
            self.existing.extend(same);
            self.missing.remove(&inode);
        }
    }
}

/// The target of a link of a task. Returns `None` if the task has exited, or if access is denied
/// despite `CAP_SYS_PTRACE`: the task then belongs to a parent user namespace, or a security
/// module protects it.
fn read_link(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_link(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        link => none_if_exited(link),
    }
}

/// The network namespaces in a mount table and their mount points. The root field of such a mount
/// is `net:[inode]`.
fn mounted_netns(mountinfo: &str) -> impl Iterator<Item = (u64, String)> {
    mountinfo.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        Some((netns_inode(fields.next()?)?, unescape(fields.next()?)))
    })
}

/// Replaces the octal escapes of mount tables: spaces, tabs, line breaks and backslashes.
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

/// The inode in `net:[inode]`.
fn netns_inode(text: &str) -> Option<u64> {
    text.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests;
