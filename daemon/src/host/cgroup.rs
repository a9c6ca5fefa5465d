//! The control groups of plugins: those of the runtime, as if the runtime had executed the plugins
//! itself (decision 21). If plugins were in the groups of the daemon, a container runtime would
//! kill them together with the daemon's container, and their memory would count against its limit.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The control groups of a process: the path in each hierarchy. A hierarchy has the names of its
/// controllers, as in `/proc/PID/cgroup`; that of cgroup v2 is the empty string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cgroups(BTreeMap<String, String>);

impl Cgroups {
    /// The control groups of the process `pid`.
    pub(super) fn of_process(pid: i32) -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string(format!(
            "/proc/{pid}/cgroup"
        ))?))
    }

    /// The control groups of this process.
    pub(super) fn own() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/cgroup")?))
    }

    /// Parses lines such as `4:memory:/system.slice/containerd.service`.
    fn parse(text: &str) -> Self {
        let fields = |line: &str| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
        };
        Self(text.lines().filter_map(fields).collect())
    }
}

/// A file `cgroup.procs`, through which processes join a control group.
#[derive(Debug)]
struct Group {
    procs: File,
    path: PathBuf,
}

/// The control groups that plugins join.
#[derive(Debug, Default)]
pub(super) struct PluginCgroups(Vec<Group>);

impl PluginCgroups {
    /// Opens those of `target` in which this process is not. Reads the mount table of the calling
    /// thread, so that the daemon's container needs no mount of its own. Returns the groups that
    /// can be joined, and the errors of the others.
    pub(super) fn open(target: &Cgroups) -> (Self, Vec<String>) {
        let read = || {
            let own = Cgroups::own()?;
            Ok((own, fs::read_to_string("/proc/thread-self/mountinfo")?))
        };
        let (own, mounts) = match read() {
            Ok(read) => read,
            Err(error) => {
                let error: io::Error = error;
                return (Self::default(), vec![error.to_string()]);
            }
        };
        let (mut groups, mut errors) = (Vec::new(), Vec::new());
        for (hierarchy, path) in &target.0 {
            if own.0.get(hierarchy) == Some(path) {
                continue;
            }
            match open(hierarchy, path, &mounts) {
                Ok(group) => groups.push(group),
                Err(error) => errors.push(error),
            }
        }
        (Self(groups), errors)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Moves a process into the groups. Blocking: the kernel may wait for some milliseconds.
    /// Continues after errors, and returns the first one.
    pub(super) fn join(&self, pid: u32) -> Result<(), String> {
        let mut result = Ok(());
        for Group { procs, path } in &self.0 {
            // One write, as the kernel requires.
            let written = (&*procs).write_all(pid.to_string().as_bytes());
            if let (Err(error), Ok(())) = (written, &result) {
                result = Err(format!("{}: {error}", path.display()));
            }
        }
        result
    }
}

fn open(hierarchy: &str, cgroup: &str, mounts: &str) -> Result<Group, String> {
    let name = if hierarchy.is_empty() {
        "cgroup2"
    } else {
        hierarchy
    };
    if cgroup.split('/').any(|part| part == "..") {
        let reason = "plexusd has a cgroup namespace of its own";
        return Err(format!("{name} {cgroup}: {reason}"));
    }
    let dir = directory(hierarchy, cgroup, mounts)
        .ok_or_else(|| format!("{name} {cgroup}: the hierarchy is not mounted"))?;
    let path = dir.join("cgroup.procs");
    match OpenOptions::new().write(true).open(&path) {
        Ok(procs) => Ok(Group { procs, path }),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The directory of a control group, according to the mount table.
fn directory(hierarchy: &str, cgroup: &str, mounts: &str) -> Option<PathBuf> {
    let mut directories = mounts.lines().filter_map(|line| {
        // ID, parent, device, root, mount point, options, optional fields, then after a dash: type,
        // source, options of the file system.
        let (mount, file_system) = line.split_once(" - ")?;
        let (root, point) = (mount.split(' ').nth(3)?, mount.split(' ').nth(4)?);
        let mut fields = file_system.split(' ');
        let (kind, options) = (fields.next()?, fields.nth(1)?);
        let is_wanted = match kind {
            "cgroup2" => hierarchy.is_empty(),
            "cgroup" => {
                let options: Vec<_> = options.split(',').collect();
                !hierarchy.is_empty() && hierarchy.split(',').all(|name| options.contains(&name))
            }
            _ => false,
        };
        let below = Path::new(cgroup).strip_prefix(root).ok()?;
        is_wanted.then(|| Path::new(point).join(below))
    });
    // Later mounts cover earlier ones.
    directories.next_back()
}
