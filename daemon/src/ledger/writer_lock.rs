//! The lock that allows only one process to write the ledger.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;

use super::LedgerError;
use crate::file_id::FileId;

const LOCK_FILE: &str = "lock";
/// The time in which most calls finish. A longer wait for another daemon to finish its calls is
/// logged as a warning.
const USUAL_WAIT: Duration = Duration::from_secs(5);

/// The lock file, not locked yet.
#[derive(Debug)]
pub(super) struct LockFile {
    dir: PathBuf,
    file: Arc<File>,
    id: String,
}

/// The lock for writing, held until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct WriterLock {
    _file: Arc<File>,
    id: String,
}

impl LockFile {
    /// Opens the lock file of a state directory. Creates the file if it is missing. On a read-only
    /// file system, an existing file can be locked as well.
    pub(super) fn open(dir: &Path) -> Result<Self, LedgerError> {
        let path = dir.join(LOCK_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .or_else(|error| match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem => File::open(&path).map_err(|_| error),
                _ => Err(error),
            })
            .map_err(LedgerError::io("open", &path))?;
        let metadata = file.metadata().map_err(LedgerError::io("stat", &path))?;
        let FileId { dev, ino } = FileId::from(&metadata);
        Ok(Self {
            dir: dir.to_owned(),
            file: Arc::new(file),
            id: format!("{dev}:{ino}"),
        })
    }

    /// Device and inode of the lock file, which no other ledger shares.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The lock file. Another process that has it open holds the lock as well.
    pub(super) fn file(&self) -> Weak<File> {
        Arc::downgrade(&self.file)
    }

    /// Acquires the lock. Waits for its holder up to `wait`, after a call of `on_wait`.
    pub(super) fn lock(
        self,
        wait: Duration,
        on_wait: impl FnOnce(),
    ) -> Result<WriterLock, LedgerError> {
        let Self { dir, file, id } = self;
        let path = dir.join(LOCK_FILE);
        let file = match file.try_lock() {
            Ok(()) => Some(file),
            Err(TryLockError::WouldBlock) => {
                on_wait();
                tracing::info!("{}", waiting_text(&dir, Duration::ZERO));
                lock_within(file, wait, &dir).map_err(LedgerError::io("lock", &path))?
            }
            Err(TryLockError::Error(error)) => return Err(LedgerError::io("lock", &path)(error)),
        };
        let Some(file) = file else {
            return Err(locked_error(&dir));
        };
        // The PID only serves error messages, so a full file system must not stop a daemon that has
        // to clean up.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(&*file, "{}", std::process::id()));
        Ok(WriterLock { id, _file: file })
    }
}

impl WriterLock {
    /// See [`LockFile::id`].
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

/// The error for a state directory that another process has locked. Names the process if the lock
/// file does.
fn locked_error(dir: &Path) -> LedgerError {
    let holder = holder(dir);
    LedgerError::Locked {
        dir: dir.to_owned(),
        holder,
        stopped: holder.is_some_and(is_stopped),
    }
}

/// One line about the wait for another process. The line says what to do if the wait is unusual.
pub(super) fn waiting_text(dir: &Path, waited: Duration) -> String {
    let holder = holder(dir);
    if waited >= USUAL_WAIT {
        format!("still waiting for the ledger: {}", locked_error(dir))
    } else if holder.is_some_and(is_stopped) {
        format!("waiting for the ledger: {}", locked_error(dir))
    } else {
        let pid = holder
            .map(|pid| format!(" (pid {pid})"))
            .unwrap_or_default();
        format!("waiting for the previous plexusd{pid} to hand over")
    }
}

fn holder(dir: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(dir.join(LOCK_FILE)).ok()?;
    text.trim().parse().ok()
}

/// Whether a signal or a debugger has stopped this process.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the process is in parentheses and may contain parentheses itself.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
}

/// Acquires the lock in a separate thread, because `flock` has no timeout. After the timeout, the
/// thread may still be waiting. If it then gets the lock, it drops the lock, because the channel is
/// closed.
fn lock_within(file: Arc<File>, wait: Duration, dir: &Path) -> std::io::Result<Option<Arc<File>>> {
    let (sender, receiver) = mpsc::sync_channel(0);
    std::thread::Builder::new()
        .name("ledger-lock".to_owned())
        .spawn(move || {
            let _ = sender.send(file.lock().map(|()| file));
        })?;
    let usual_wait = USUAL_WAIT.min(wait);
    let locked = receiver.recv_timeout(usual_wait).or_else(|timeout| {
        if usual_wait < wait {
            tracing::warn!("{}", waiting_text(dir, usual_wait));
            return receiver.recv_timeout(wait.saturating_sub(usual_wait));
        }
        Err(timeout)
    });
    locked.ok().transpose()
}

#[cfg(test)]
mod tests;
