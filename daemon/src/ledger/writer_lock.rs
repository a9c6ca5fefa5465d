//! One process writes the ledger at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::LedgerError;
use crate::file_id::FileId;

const LOCK_FILE: &str = "lock";
/// Calls rarely last longer: who waits longer for another daemon to finish its calls says so.
const USUAL: Duration = Duration::from_secs(5);

/// The lock's file, not locked yet.
#[derive(Debug)]
pub(super) struct LockFile {
    dir: PathBuf,
    file: File,
    mark: String,
}

/// The right to write, until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct WriterLock {
    _file: File,
    mark: String,
}

impl LockFile {
    /// Opens that of a state directory; it is made where it is missing.
    pub(super) fn open(dir: &Path) -> Result<Self, LedgerError> {
        let path = dir.join(LOCK_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(LedgerError::io("open", &path))?;
        let metadata = file.metadata().map_err(LedgerError::io("look at", &path))?;
        let FileId { dev, ino } = FileId::from(&metadata);
        Ok(Self {
            dir: dir.to_owned(),
            file,
            mark: format!("{dev}:{ino}"),
        })
    }

    /// Device and inode of the lock: no other ledger has them.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// Locks it. Waits for its holder up to `wait`.
    pub(super) fn lock(self, wait: Duration) -> Result<WriterLock, LedgerError> {
        let Self { dir, file, mark } = self;
        let path = dir.join(LOCK_FILE);
        let file = match file.try_lock() {
            Ok(()) => Some(file),
            Err(TryLockError::WouldBlock) => {
                tracing::info!("waiting for the ledger: {}", in_use(&dir));
                lock_within(file, wait, &dir).map_err(LedgerError::io("lock", &path))?
            }
            Err(TryLockError::Error(error)) => return Err(LedgerError::io("lock", &path)(error)),
        };
        let Some(mut file) = file else {
            return Err(in_use(&dir));
        };
        // For the message of the next one only; a full file system must not keep the daemon from cleaning up.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(WriterLock { mark, _file: file })
    }
}

impl WriterLock {
    /// See [`LockFile::mark`].
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }
}

/// That another process has the lock of this state directory, and which, where its lock file says so.
pub(super) fn in_use(dir: &Path) -> LedgerError {
    let holder = std::fs::read_to_string(dir.join(LOCK_FILE))
        .ok()
        .and_then(|text| text.trim().parse().ok());
    LedgerError::Locked {
        dir: dir.to_owned(),
        holder,
        stopped: holder.is_some_and(is_stopped),
    }
}

/// Whether a signal or a debugger has stopped this process.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Its name is in brackets and may have some itself.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
}

/// The kernel knows no time limit for `flock`, so a thread waits. It may outlive the wait; the lock that it then gets
/// finds no taker and is dropped.
fn lock_within(file: File, wait: Duration, dir: &Path) -> std::io::Result<Option<File>> {
    let (sender, receiver) = mpsc::sync_channel(0);
    std::thread::Builder::new()
        .name("ledger-lock".to_owned())
        .spawn(move || {
            let _ = sender.send(file.lock().map(|()| file));
        })?;
    let usual = USUAL.min(wait);
    let locked = receiver.recv_timeout(usual).or_else(|timeout| {
        if usual < wait {
            tracing::warn!("still waiting for the ledger: {}", in_use(dir));
            return receiver.recv_timeout(wait.saturating_sub(usual));
        }
        Err(timeout)
    });
    locked.ok().transpose()
}

#[cfg(test)]
mod tests;
