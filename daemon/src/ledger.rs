//! Durable records of the attachments on this node. A record exists from before the first plugin
//! runs until the last DEL has succeeded, and suffices for DEL without the API server, the pod, or
//! the definitions.
//!
//! Each record is one append-only file for a (container, interface). One process writes, any
//! process can read. A [`ContainerLock`] is both the lock of a container and the only way to write
//! its records.

mod abandon;
mod changes;
mod container_lock;
mod dirs;
mod error;
mod format;
mod journal;
mod key;
mod quarantine;
mod record;
mod retired;
mod sandbox_index;
mod spool;
mod summary;
#[cfg(test)]
mod test_helpers;
mod writer_lock;

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

pub(crate) use abandon::{AbandonOutcome, AbandonRequest, AbandonSelection, AbandonedRecord};
pub(crate) use container_lock::{AddLock, ContainerLock, LedgerLock};
pub(crate) use error::{LedgerError, PreviousResultError};
pub(crate) use format::{FORMAT, Line, PLEXUSD, Planned};
pub(crate) use key::{RecordKey, RetryRequest};
pub(crate) use record::{DelFailures, Phase, Record};
pub(crate) use spool::SpooledRequest;
pub(crate) use summary::RecordSummary;

use crate::call_limits::{CallLimits, WaitError};
use crate::mutex::lock;
use container_lock::{ContainerMutexes, GlobalLock};
use journal::Journal;
use sandbox_index::SandboxIndex;
use writer_lock::{LockFile, WriterLock};

/// The number of deleted keys that are remembered: the pods of a few full nodes.
const MAX_REMEMBERED: usize = 1024;

/// The ledger of this node, locked for writing by this process.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    journal: Journal,
    global_lock: GlobalLock,
    container_mutexes: ContainerMutexes,
    adds_in_flight: Mutex<HashSet<RecordKey>>,
    sandboxes: Mutex<SandboxIndex>,
    /// The keys of records that were removed recently, the oldest first.
    deleted: Mutex<VecDeque<RecordKey>>,
    writer_lock: WriterLock,
}

/// The ledger of this node, not yet locked for writing.
#[derive(Debug)]
pub(crate) struct UnlockedLedger {
    journal: Journal,
    lock_file: LockFile,
}

/// A step of [`UnlockedLedger::lock`] that may take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockStep {
    /// Another process holds the lock.
    Waiting,
    /// This many records are read.
    Reading(usize),
}

impl UnlockedLedger {
    /// Opens the ledger under the state directory `dir`. Creates missing directories.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub(crate) fn open(dir: &Path) -> Result<Self, LedgerError> {
        let journal = Journal::new(dir);
        journal.create_dirs()?;
        Ok(Self {
            journal,
            lock_file: LockFile::open(dir)?,
        })
    }

    /// See [`Ledger::id`].
    pub(crate) fn id(&self) -> &str {
        self.lock_file.id()
    }

    /// The file that is locked, as long as this process has the ledger. A process that gets the file
    /// holds the lock as well until it closes the file.
    pub(crate) fn lock_file(&self) -> Weak<File> {
        self.lock_file.file()
    }

    /// Locks the ledger for writing. Waits up to `wait` for another process to release the lock.
    /// `on_step` is called when a step that may take long begins. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Locked`] names the process that holds the lock; [`LedgerError::Io`].
    pub(crate) fn lock(
        self,
        wait: Duration,
        on_step: impl Fn(LockStep),
    ) -> Result<Ledger, LedgerError> {
        let Self { journal, lock_file } = self;
        let writer_lock = lock_file.lock(wait, || on_step(LockStep::Waiting))?;
        if let Err(error) = journal.remove_temporary_files() {
            tracing::warn!(%error, "unfinished files of a killed plexusd stay in the ledger");
        }
        on_step(LockStep::Reading(journal.keys()?.len()));
        let mut sandboxes = SandboxIndex::default();
        // Recovery reports records that cannot be read.
        Ledger::summaries(journal.state_dir())?
            .flatten()
            .for_each(|record| sandboxes.insert(&record.planned));
        Ok(Ledger(Arc::new(Inner {
            journal,
            global_lock: GlobalLock::default(),
            container_mutexes: ContainerMutexes::default(),
            adds_in_flight: Mutex::default(),
            sandboxes: Mutex::new(sandboxes),
            deleted: Mutex::default(),
            writer_lock,
        })))
    }
}

impl Ledger {
    /// Opens the ledger under the state directory `dir` and locks it for writing. Waits up to
    /// `lock_wait` for another process to release the lock. Blocking.
    ///
    /// # Errors
    /// Those of [`UnlockedLedger::open`] and [`UnlockedLedger::lock`].
    pub(crate) fn open(dir: &Path, lock_wait: Duration) -> Result<Self, LedgerError> {
        UnlockedLedger::open(dir)?.lock(lock_wait, |_| {})
    }

    /// One line about the wait for the process that holds the lock of the state directory `dir`.
    /// Blocking.
    pub(crate) fn waiting_text(dir: &Path, waited: Duration) -> String {
        writer_lock::waiting_text(dir, waited)
    }

    /// Iterates over all records under the state directory `dir`, even while another process is
    /// writing. A record that cannot be read yields an error. A plan that is being written is left
    /// out. Blocking, and so is each step of the iterator.
    ///
    /// # Errors
    /// [`LedgerError::Io`] if the directory cannot be read.
    pub(crate) fn summaries(
        dir: &Path,
    ) -> Result<impl Iterator<Item = Result<RecordSummary, LedgerError>>, LedgerError> {
        let journal = Journal::new(dir);
        let keys = journal.keys()?;
        Ok(keys
            .into_iter()
            .filter_map(move |key| journal.checked_summary(&key).transpose()))
    }

    /// Reads a record under the state directory `dir`. Blocking.
    ///
    /// # Errors
    /// See [`Ledger::read`].
    pub(crate) fn record_in(dir: &Path, key: &RecordKey) -> Result<Option<Record>, LedgerError> {
        Journal::new(dir).read(key)
    }

    /// The number of damaged files in the quarantine of the state directory `dir`. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Io`] if the directory exists but cannot be read.
    pub(crate) fn quarantined(dir: &Path) -> Result<usize, LedgerError> {
        quarantine::count(dir)
    }

    /// The retired records under the state directory `dir`, without those that cannot be read.
    /// Blocking, and so is each step of the iterator.
    ///
    /// # Errors
    /// [`LedgerError::Io`] if the directory exists but cannot be read.
    pub(crate) fn retired_records(dir: &Path) -> Result<impl Iterator<Item = Record>, LedgerError> {
        retired::records(dir)
    }

    /// The number of retired records under the state directory `dir`. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Io`] if the directory exists but cannot be read.
    pub(crate) fn retired(dir: &Path) -> Result<usize, LedgerError> {
        retired::count(dir)
    }

    /// The requests in the spool of the state directory `dir`. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Io`] if the spool exists but cannot be read.
    pub(crate) fn spooled_files(dir: &Path) -> Result<Vec<PathBuf>, LedgerError> {
        spool::requests(dir)
    }

    /// Locks a container. Waiting callers get the lock in the order of arrival.
    ///
    /// # Errors
    /// The limits ended the wait.
    pub(crate) async fn lock_container(
        &self,
        container_id: &str,
        limits: &CallLimits,
    ) -> Result<ContainerLock, WaitError> {
        ContainerLock::acquire(Arc::clone(&self.0), container_id, limits).await
    }

    /// Locks a container if its lock is free. `call` names the holder.
    pub(crate) fn try_lock_container(
        &self,
        container_id: &str,
        call: &str,
    ) -> Option<ContainerLock> {
        ContainerLock::try_acquire(Arc::clone(&self.0), container_id, call)
    }

    /// Locks a container for an ADD of `ifname`.
    ///
    /// # Errors
    /// [`LedgerError::InFlight`], at once, while another ADD of the same key holds or waits for the
    /// lock. [`LedgerError::Wait`] if the limits ended the wait.
    pub(crate) async fn lock_for_add(
        &self,
        container_id: &str,
        ifname: &str,
        limits: &CallLimits,
    ) -> Result<AddLock, LedgerError> {
        let key = RecordKey::new(container_id, ifname);
        AddLock::acquire(Arc::clone(&self.0), key, limits).await
    }

    /// Locks the whole ledger once no container is locked. Containers can be locked while this
    /// waits.
    pub(crate) async fn lock_all(&self) -> LedgerLock {
        LedgerLock::acquire(Arc::clone(&self.0)).await
    }

    /// The keys of all files, also of files without a record, whose plan is being written or is
    /// torn.
    ///
    /// # Errors
    /// [`LedgerError::Io`] if the directory cannot be read: an empty list would be wrong.
    pub(crate) fn keys(&self) -> Result<Vec<RecordKey>, LedgerError> {
        self.0.journal.keys()
    }

    /// The keys of all files and the keys of the ADDs in flight, which may or may not have a file.
    /// Both lists are from the same time.
    ///
    /// # Errors
    /// Those of [`Ledger::keys`].
    pub(crate) fn keys_and_adds(
        &self,
    ) -> Result<(Vec<RecordKey>, HashSet<RecordKey>), LedgerError> {
        // Locked while the files are listed, so that no ADD begins or ends meanwhile.
        let adds = lock(&self.0.adds_in_flight);
        Ok((self.keys()?, adds.clone()))
    }

    /// Reads a record without the lock of its container; see [`ContainerLock::load`]. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`], [`LedgerError::Newer`], [`LedgerError::Io`]; the file is left as
    /// it is.
    pub(crate) fn read(&self, key: &RecordKey) -> Result<Option<Record>, LedgerError> {
        self.0.journal.read(key)
    }

    /// Like [`Ledger::read`], without configurations and results. Blocking.
    ///
    /// # Errors
    /// See [`Ledger::read`].
    pub(crate) fn summary(&self, key: &RecordKey) -> Result<Option<RecordSummary>, LedgerError> {
        self.0.journal.summary(key)
    }

    /// The length of a record's file in bytes; 0 if the file is missing.
    pub(crate) fn size(&self, key: &RecordKey) -> usize {
        self.0.journal.size(key)
    }

    /// The DELs that the shim has spooled, sorted by file name. Removes files that a killed shim
    /// has left half written. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Io`] if the spool exists but cannot be read.
    pub(crate) fn spooled(&self) -> Result<Vec<SpooledRequest>, LedgerError> {
        spool::pending(self.0.journal.state_dir())
    }

    /// Identifies this ledger among all ledgers on this machine.
    pub(crate) fn id(&self) -> &str {
        self.0.writer_lock.id()
    }

    /// Whether this process has recently removed the record of `key` or refused its ADD. Runtimes
    /// send a second DEL, and a DEL after a failed ADD.
    pub(crate) fn recently_deleted(&self, key: &RecordKey) -> bool {
        lock(&self.0.deleted).contains(key)
    }
}

impl Inner {
    fn remember_deleted(&self, key: RecordKey) {
        let mut deleted = lock(&self.deleted);
        if deleted.len() == MAX_REMEMBERED {
            deleted.pop_front();
        }
        deleted.push_back(key);
    }

    fn forget_deleted(&self, key: &RecordKey) {
        lock(&self.deleted).retain(|deleted| deleted != key);
    }
}

#[cfg(test)]
mod tests;
