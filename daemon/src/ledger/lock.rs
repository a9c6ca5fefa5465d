//! One process writes the ledger at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::LedgerError;

const LOCK_FILE: &str = "lock";

/// The right to write, until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct WriterLock {
    _file: File,
    mark: String,
}

impl WriterLock {
    /// Takes the lock of a state directory. Waits for its holder up to `wait`.
    pub(super) fn acquire(dir: &Path, wait: Duration) -> Result<Self, LedgerError> {
        let path = dir.join(LOCK_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(LedgerError::io("open", &path))?;
        let file = match file.try_lock() {
            Ok(()) => Some(file),
            Err(TryLockError::WouldBlock) => {
                tracing::info!("waiting for the ledger: {}", in_use(dir, &path));
                lock_within(file, wait).map_err(LedgerError::io("lock", &path))?
            }
            Err(TryLockError::Error(error)) => return Err(LedgerError::io("lock", &path)(error)),
        };
        let Some(mut file) = file else { return Err(in_use(dir, &path)) };
        // For the message of the next one only; a full file system must not keep the daemon from cleaning up.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        let meta = file.metadata().map_err(LedgerError::io("look at", &path))?;
        Ok(Self { mark: format!("{}:{}", meta.dev(), meta.ino()), _file: file })
    }

    /// Device and inode of the lock: no other ledger has them.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }
}

/// That another process has the lock of this state directory, and which, where its lock file says so.
fn in_use(dir: &Path, lock: &Path) -> LedgerError {
    let holder = std::fs::read_to_string(lock).ok().and_then(|text| text.trim().parse().ok());
    LedgerError::Locked { dir: dir.to_owned(), holder }
}

/// The kernel knows no time limit for `flock`, so a thread waits. It may outlive the wait; the lock that it then gets
/// finds no taker and is dropped.
fn lock_within(file: File, wait: Duration) -> std::io::Result<Option<File>> {
    let (sender, receiver) = mpsc::sync_channel(0);
    std::thread::Builder::new().name("ledger-lock".to_owned()).spawn(move || {
        let _ = sender.send(file.lock().map(|()| file));
    })?;
    receiver.recv_timeout(wait).ok().transpose()
}

#[cfg(test)]
mod tests;
