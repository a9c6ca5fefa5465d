//! What is attached on this node, on disk: from the moment before the first plugin runs until the last DEL has really
//! succeeded. A record suffices for DEL without the API server, the pod, or the definitions.
//!
//! One file a (container, interface), only ever appended to. One process writes, any can read. A [`ContainerLock`] is both the
//! lock of a container and the only way to write its records.

mod abandon;
mod container_lock;
mod error;
mod journal;
mod record;
mod sandboxes;
mod spool;
mod writer_lock;

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) use abandon::{Abandon, Abandoned};
pub(crate) use container_lock::{AddLock, ContainerLock, LedgerLock};
pub(crate) use error::LedgerError;
pub(crate) use record::{DelFailures, FORMAT, Line, PLEXUSD, Phase, Planned, Record};
pub(crate) use spool::Spooled;

use crate::mutex::lock;
use container_lock::{ContainerMutexes, GlobalLock};
use journal::Journal;
use sandboxes::Sandboxes;
use writer_lock::{LockFile, WriterLock};

/// Container id and interface name.
pub(crate) type Key = (String, String);

/// How many deleted keys are remembered: a few full nodes of pods.
const REMEMBERED: usize = 1024;

/// The ledger of this node, with the right to write it.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    journal: Journal,
    gate: GlobalLock,
    seats: ContainerMutexes,
    adds: Mutex<HashSet<Key>>,
    /// Of all records.
    sandboxes: Mutex<Sandboxes>,
    /// Oldest first.
    deleted: Mutex<VecDeque<Key>>,
    lock: WriterLock,
}

/// The ledger of this node, before the right to write it is there.
#[derive(Debug)]
pub(crate) struct UnlockedLedger {
    journal: Journal,
    lock: LockFile,
}

impl UnlockedLedger {
    /// That under the state directory `dir`. What is missing there is made.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub(crate) fn at(dir: &Path) -> Result<Self, LedgerError> {
        let journal = Journal::at(dir);
        journal.prepare()?;
        Ok(Self {
            journal,
            lock: LockFile::open(dir)?,
        })
    }

    /// See [`Ledger::mark`].
    pub(crate) fn mark(&self) -> &str {
        self.lock.mark()
    }

    /// Takes the right to write. Waits up to `wait` for another process to end. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Locked`] names the process that still has it; [`LedgerError::Io`].
    pub(crate) fn own(self, wait: Duration) -> Result<Ledger, LedgerError> {
        let Self { journal, lock } = self;
        let lock = lock.lock(wait)?;
        let mut sandboxes = Sandboxes::default();
        // Who looks for leftovers tells of records that cannot be read.
        Ledger::read_each(journal.state_dir())?
            .flatten()
            .for_each(|record| sandboxes.insert(&record.planned));
        Ok(Ledger(Arc::new(Inner {
            journal,
            gate: GlobalLock::default(),
            seats: ContainerMutexes::default(),
            adds: Mutex::default(),
            sandboxes: Mutex::new(sandboxes),
            deleted: Mutex::default(),
            lock,
        })))
    }
}

impl Ledger {
    /// Opens the ledger under the state directory `dir` for writing and makes what is missing there. Waits up to
    /// `lock_wait` for another process to end. Blocking.
    ///
    /// # Errors
    /// Those of [`UnlockedLedger::at`] and [`UnlockedLedger::own`].
    pub(crate) fn open(dir: &Path, lock_wait: Duration) -> Result<Self, LedgerError> {
        UnlockedLedger::at(dir)?.own(lock_wait)
    }

    /// What who waits for the ledger under `dir` is waiting for. Blocking.
    pub(crate) fn waits_for(dir: &Path) -> LedgerError {
        writer_lock::in_use(dir)
    }

    /// Reads all records under the state directory `dir`, while another process may be writing. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Io`] where the directory cannot be read; a record that cannot be read is an error in its place.
    pub(crate) fn read_all(dir: &Path) -> Result<Vec<Result<Record, LedgerError>>, LedgerError> {
        Ok(Self::read_each(dir)?.collect())
    }

    /// The same one after the other, for who does not need all of them at once. Blocking, also to step.
    ///
    /// # Errors
    /// As [`Ledger::read_all`].
    pub(crate) fn read_each(
        dir: &Path,
    ) -> Result<impl Iterator<Item = Result<Record, LedgerError>>, LedgerError> {
        let journal = Journal::at(dir);
        let keys = journal.keys()?;
        Ok(keys
            .into_iter()
            .filter_map(move |(id, ifname)| journal.read(&id, &ifname).transpose()))
    }

    /// How many files of the state directory `dir` were set aside because they are damaged. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Io`] where the directory is there and cannot be read.
    pub(crate) fn quarantined(dir: &Path) -> Result<usize, LedgerError> {
        journal::quarantined(dir)
    }

    /// The files of the spool under the state directory `dir`. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Io`] where it is there and cannot be read.
    pub(crate) fn spooled_files(dir: &Path) -> Result<Vec<PathBuf>, LedgerError> {
        spool::files(dir)
    }

    /// The lane of a container. Waits for who has it now, in the order of arrival.
    pub(crate) async fn lock_container(&self, container_id: &str) -> ContainerLock {
        ContainerLock::take(Arc::clone(&self.0), container_id).await
    }

    /// The lane of a container for an ADD of `ifname`.
    ///
    /// # Errors
    /// [`LedgerError::InFlight`], at once, while another ADD of the same key holds its lane or waits for it.
    pub(crate) async fn lock_for_add(
        &self,
        container_id: &str,
        ifname: &str,
    ) -> Result<AddLock, LedgerError> {
        AddLock::take(
            Arc::clone(&self.0),
            (container_id.to_owned(), ifname.to_owned()),
        )
        .await
    }

    /// The whole ledger, which keeps all calls waiting. Waits for all lanes; who asks for one meanwhile waits behind.
    pub(crate) async fn lock_all(&self) -> LedgerLock {
        LedgerLock::take(Arc::clone(&self.0)).await
    }

    /// The keys of all files. One of them may have no record: when its plan is being written, or was torn.
    ///
    /// # Errors
    /// [`LedgerError::Io`] where the directory cannot be read; never an empty list instead.
    pub(crate) fn keys(&self) -> Result<Vec<Key>, LedgerError> {
        self.0.journal.keys()
    }

    /// The keys of all files, and those of the ADDs in flight, which may have files or not; of one moment.
    ///
    /// # Errors
    /// Those of [`Ledger::keys`].
    pub(crate) fn keys_and_adds(&self) -> Result<(Vec<Key>, HashSet<Key>), LedgerError> {
        // Held meanwhile, so that none begins or ends.
        let adds = lock(&self.0.adds);
        Ok((self.keys()?, adds.clone()))
    }

    /// Reads a record as anybody may, without its lane; see [`ContainerLock::load`]. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`], [`LedgerError::Newer`], [`LedgerError::Io`]; the file stays as it is.
    pub(crate) fn read(
        &self,
        container_id: &str,
        ifname: &str,
    ) -> Result<Option<Record>, LedgerError> {
        self.0.journal.read(container_id, ifname)
    }

    /// The DELs that the shim left, by file name; what a shim left half written when it was killed is removed.
    /// Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Io`] where the spool is there and cannot be read.
    pub(crate) fn spooled(&self) -> Result<Vec<Spooled>, LedgerError> {
        spool::pending(self.0.journal.state_dir())
    }

    /// A text that no other ledger on this machine has while this one is there.
    pub(crate) fn mark(&self) -> &str {
        self.0.lock.mark()
    }

    /// Whether the record of this key was removed a short while ago by this process, or its ADD refused. Runtimes send
    /// a second DEL, and one after an ADD that failed.
    pub(crate) fn recently_deleted(&self, container_id: &str, ifname: &str) -> bool {
        lock(&self.0.deleted)
            .iter()
            .any(|(id, name)| id == container_id && name == ifname)
    }
}

impl Inner {
    fn remember_deleted(&self, key: Key) {
        let mut deleted = lock(&self.deleted);
        if deleted.len() == REMEMBERED {
            deleted.pop_front();
        }
        deleted.push_back(key);
    }

    fn forget_deleted(&self, key: &Key) {
        lock(&self.deleted).retain(|deleted| deleted != key);
    }
}

#[cfg(test)]
mod tests;
