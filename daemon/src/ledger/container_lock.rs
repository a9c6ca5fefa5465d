//! Who may touch the records of a container: one holder a container at a time, many containers at once, and nobody
//! while the uninstallation has them all.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex as StdMutex, Weak};

use tokio::sync::{Mutex, OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::record::{Line, Planned, Record};
use super::{Inner, Key, LedgerError};
use crate::mutex::lock;

/// The lock of one container and the way to its records. Dropping it lets the next one in, also when its holder
/// panics. A holder must not ask for a second one: it could wait for itself.
#[derive(Debug)]
pub(crate) struct ContainerLock {
    ledger: Arc<Inner>,
    container_id: String,
    hold: Arc<Hold>,
}

/// What a lane holds, released from top to bottom.
#[derive(Debug)]
struct Hold {
    _turn: OwnedMutexGuard<()>,
    _seat: ContainerMutex,
    _gate: OwnedRwLockReadGuard<()>,
}

impl ContainerLock {
    pub(super) async fn take(ledger: Arc<Inner>, container_id: &str) -> Self {
        let gate = Arc::clone(&ledger.gate).read_owned().await;
        let seat = ContainerMutex::take(&ledger, container_id);
        let turn = Arc::clone(&seat.mutex).lock_owned().await;
        let hold = Arc::new(Hold {
            _turn: turn,
            _seat: seat,
            _gate: gate,
        });
        Self {
            ledger,
            container_id: container_id.to_owned(),
            hold,
        }
    }

    /// The container.
    pub(crate) fn container_id(&self) -> &str {
        &self.container_id
    }

    /// The record of an interface of this container.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] where it cannot be read; the file has been moved away by then, so DEL can go on with
    /// what is known otherwise (P-090, R-086). [`LedgerError::Newer`] where a newer plexusd wrote it.
    pub(crate) fn load(&self, ifname: &str) -> Result<Option<Record>, LedgerError> {
        let loaded = self.ledger.journal.load(&self.container_id, ifname);
        if loaded.as_ref().is_err_and(LedgerError::is_quarantined) {
            lock(&self.ledger.sandboxes).remove(&(self.container_id.clone(), ifname.to_owned()));
        }
        loaded
    }

    /// The interfaces of this container that have records.
    ///
    /// # Errors
    /// [`LedgerError::Io`] where the directory cannot be read.
    pub(crate) fn interfaces(&self) -> Result<Vec<String>, LedgerError> {
        let keys = self.ledger.journal.keys()?;
        Ok(keys
            .into_iter()
            .filter(|(id, _)| *id == self.container_id)
            .map(|(_, ifname)| ifname)
            .collect())
    }

    /// Records a plan, durably; nothing may run before this returns. Dropping the future does not stop it:
    /// the lane is then released when it is done, and the record says that nothing was started.
    ///
    /// # Errors
    /// [`LedgerError::AlreadyAttached`] where there is a record. After any error this call has left no file.
    pub(crate) async fn plan(&self, planned: Planned) -> Result<Record, LedgerError> {
        debug_assert_eq!(
            planned.container_id, self.container_id,
            "a plan goes into the lock of its container"
        );
        let (ledger, hold) = (Arc::clone(&self.ledger), Arc::clone(&self.hold));
        let task = tokio::task::spawn_blocking(move || {
            let _hold = hold;
            let key = (planned.container_id.clone(), planned.ifname.clone());
            let record = ledger.journal.create(planned)?;
            lock(&ledger.sandboxes).insert(&record.planned);
            ledger.forget_deleted(&key);
            Ok(record)
        });
        task.await.unwrap_or_else(|panic| {
            Err(LedgerError::Io {
                action: "record a plan in",
                path: self.ledger.journal.dir().to_owned(),
                why: std::io::Error::other(panic),
            })
        })
    }

    /// Appends a line, and takes it into `record`.
    ///
    /// # Errors
    /// [`LedgerError::Io`]; `record` is then unchanged, and so is what a reader makes of the file.
    pub(crate) fn append(&self, record: &mut Record, line: Line) -> Result<(), LedgerError> {
        debug_assert_eq!(
            record.planned.container_id, self.container_id,
            "a record stays in its lock"
        );
        self.ledger.journal.append(&record.planned, &line)?;
        record.apply(line);
        Ok(())
    }

    /// Removes a record: its DEL has really succeeded, or an operator has abandoned it.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub(crate) fn remove(&self, record: Record) -> Result<(), LedgerError> {
        debug_assert_eq!(
            record.planned.container_id, self.container_id,
            "a record stays in its lock"
        );
        self.ledger.journal.remove(&record.planned)?;
        let key = (record.planned.container_id, record.planned.ifname);
        lock(&self.ledger.sandboxes).remove(&key);
        self.ledger.remember_deleted(key);
        Ok(())
    }

    /// Remembers an interface of this container that has no record as if it had been deleted: its ADD was refused
    /// before anything ran.
    pub(crate) fn remember_nothing(&self, ifname: &str) {
        self.ledger
            .remember_deleted((self.container_id.clone(), ifname.to_owned()));
    }
}

/// The lane of an ADD, the only one of its (container, interface).
#[derive(Debug)]
pub(crate) struct AddLock {
    lock: ContainerLock,
    _ticket: AddInFlight,
}

impl AddLock {
    pub(super) async fn take(ledger: Arc<Inner>, key: Key) -> Result<Self, LedgerError> {
        let ticket = AddInFlight::take(&ledger, key)?;
        let lock = ContainerLock::take(ledger, &ticket.key.0).await;
        Ok(Self {
            lock,
            _ticket: ticket,
        })
    }
}

impl Deref for AddLock {
    type Target = ContainerLock;

    fn deref(&self) -> &ContainerLock {
        &self.lock
    }
}

/// The whole ledger: no lane is held, and none is given to others.
#[derive(Debug)]
pub(crate) struct LedgerLock {
    ledger: Arc<Inner>,
    _gate: OwnedRwLockWriteGuard<()>,
}

impl LedgerLock {
    pub(super) async fn take(ledger: Arc<Inner>) -> Self {
        let gate = Arc::clone(&ledger.gate).write_owned().await;
        Self {
            ledger,
            _gate: gate,
        }
    }

    /// The keys of all records.
    ///
    /// # Errors
    /// [`LedgerError::Io`] where the directory cannot be read; never an empty list instead.
    pub(crate) fn keys(&self) -> Result<Vec<Key>, LedgerError> {
        self.ledger.journal.keys()
    }
}

/// Lanes hold it shared.
pub(super) type GlobalLock = Arc<RwLock<()>>;

/// The mutexes of the containers that somebody holds or waits for.
pub(super) type ContainerMutexes = StdMutex<HashMap<String, Weak<Mutex<()>>>>;

/// A place at a container's mutex, held or waiting. The last one to leave takes the mutex along.
#[derive(Debug)]
struct ContainerMutex {
    ledger: Arc<Inner>,
    container_id: String,
    mutex: Arc<Mutex<()>>,
}

impl ContainerMutex {
    fn take(ledger: &Arc<Inner>, container_id: &str) -> Self {
        let mut seats = lock(&ledger.seats);
        let mutex = seats
            .get(container_id)
            .and_then(Weak::upgrade)
            .unwrap_or_else(|| {
                let mutex = Arc::new(Mutex::new(()));
                seats.insert(container_id.to_owned(), Arc::downgrade(&mutex));
                mutex
            });
        Self {
            ledger: Arc::clone(ledger),
            container_id: container_id.to_owned(),
            mutex,
        }
    }
}

impl Drop for ContainerMutex {
    fn drop(&mut self) {
        let mut seats = lock(&self.ledger.seats);
        // Others can only come from the map, which is locked.
        if Arc::strong_count(&self.mutex) == 1 {
            seats.remove(&self.container_id);
        }
    }
}

/// The right to be the one ADD of a key.
#[derive(Debug)]
struct AddInFlight {
    ledger: Arc<Inner>,
    key: Key,
}

impl AddInFlight {
    fn take(ledger: &Arc<Inner>, key: Key) -> Result<Self, LedgerError> {
        if lock(&ledger.adds).insert(key.clone()) {
            Ok(Self {
                ledger: Arc::clone(ledger),
                key,
            })
        } else {
            Err(LedgerError::InFlight {
                container_id: key.0,
                ifname: key.1,
            })
        }
    }
}

impl Drop for AddInFlight {
    fn drop(&mut self) {
        lock(&self.ledger.adds).remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
