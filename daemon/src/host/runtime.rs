//! The container runtime of the last call, stored in a file: a restarted daemon cleans up before
//! the first call, and after an uninstall there are no more calls.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cgroup::Cgroups;
use crate::atomic_file::AtomicFile;
use crate::clock::boot_id;
use crate::file_id::FileId;
use crate::regular_file;

/// The largest file that is read, in bytes.
const MAX_SIZE: u64 = 64 << 10;

/// The process that executes the shim. Boot ID and start time distinguish the process from later
/// ones with the same PID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuntimeProcess {
    boot_id: String,
    pid: i32,
    /// In clock ticks since boot.
    started: u64,
}

impl RuntimeProcess {
    /// The parent of the process `pid`. Returns `None` if the parent is in another mount namespace
    /// than `namespace`, as a wrapper of the shim may be, or is PID 1, which is the fallback anyway.
    pub(super) fn of_caller(pid: i32, namespace: &File) -> io::Result<Option<Self>> {
        let Stat { parent, .. } = Stat::read(pid)?;
        // 0: the parent is in another PID namespace.
        if parent <= 1 {
            return Ok(None);
        }
        let boot_id = boot_id()?;
        let Stat { started, .. } = Stat::read(parent)?;
        let same = FileId::of(mount_namespace(parent))? == FileId::from(&namespace.metadata()?);
        Ok(same.then_some(Self {
            boot_id,
            pid: parent,
            started,
        }))
    }

    /// Reads the file. Returns `None` if the file is missing or invalid.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&regular_file::read(path, MAX_SIZE).ok()?).ok()
    }

    /// Writes the file. Not durable: a power loss ends the boot, and with it the process.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        AtomicFile::new(path, 0o644).write(&serde_json::to_vec(self)?)
    }

    /// Opens the mount namespace of the process while the process runs.
    pub(super) fn namespace(&self) -> io::Result<File> {
        let ended = || {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("the runtime, process {}, has ended", self.pid),
            )
        };
        if boot_id()? != self.boot_id {
            return Err(ended());
        }
        let namespace = File::open(mount_namespace(self.pid))?;
        // Checked after opening, so the PID cannot have been reused in between.
        if Stat::read(self.pid)?.started != self.started {
            return Err(ended());
        }
        Ok(namespace)
    }

    /// The control groups of the process. Callers have opened its namespace before, so the process
    /// is the right one or has just ended.
    pub(super) fn cgroups(&self) -> io::Result<Cgroups> {
        Cgroups::of_process(self.pid)
    }
}

pub(super) fn mount_namespace(pid: i32) -> String {
    format!("/proc/{pid}/ns/mnt")
}

/// Fields of `/proc/PID/stat`.
struct Stat {
    parent: i32,
    /// In clock ticks since boot.
    started: u64,
}

impl Stat {
    fn read(pid: i32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&text)
            .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat cannot be parsed")))
    }

    fn parse(text: &str) -> Option<Self> {
        // The preceding field, the process name, is in parentheses and may contain any character.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<_> = rest.split(' ').collect();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}
