//! The runtime that called last, written down: a daemon that starts has to clean up before anyone calls, and after our
//! configuration was withdrawn nobody ever does.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::atomic_file::AtomicFile;
use crate::clock::boot_id;
use crate::file_id::FileId;

/// A process that executes the shim, told from any other that ever has its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Runtime {
    boot_id: String,
    pid: i32,
    /// When it was started, in clock ticks after the boot.
    started: u64,
}

impl Runtime {
    /// The parent of the process `pid`, where it is in the mount namespace `namespace`: a wrapper may be elsewhere, and
    /// then it does not lead back there.
    pub(super) fn of_caller(pid: i32, namespace: &File) -> io::Result<Option<Self>> {
        let (parent, _) = stat(pid)?;
        if parent <= 1 {
            // The first process stands in for others already, and 0 is not seen from here.
            return Ok(None);
        }
        let boot_id = boot_id()?;
        let (_, started) = stat(parent)?;
        let same = FileId::of(namespace_of(parent))? == FileId::from(&namespace.metadata()?);
        Ok(same.then_some(Self {
            boot_id,
            pid: parent,
            started,
        }))
    }

    /// What [`Runtime::write`] wrote to the file `path`; none where there is none.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Writes it to the file `path`. It need not survive a power loss: the boot ends with it.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        AtomicFile::new(path, 0o644).write(&serde_json::to_vec(self)?)
    }

    /// Its mount namespace, as long as it runs.
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
        let namespace = File::open(namespace_of(self.pid))?;
        // Looked at afterwards: then it was that process when the file was opened.
        if stat(self.pid)?.1 != self.started {
            return Err(ended());
        }
        Ok(namespace)
    }
}

fn namespace_of(pid: i32) -> String {
    format!("/proc/{pid}/ns/mnt")
}

/// The parent of a process, and when it was started.
fn stat(pid: i32) -> io::Result<(i32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may have any character.
    let fields = text
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split(' ').collect::<Vec<_>>())
        .unwrap_or_default();
    let parent = fields.get(1).and_then(|field| field.parse().ok());
    let started = fields.get(19).and_then(|field| field.parse().ok());
    parent
        .zip(started)
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not understood")))
}
