//! Locks of the ledger. Each container has its own lock, with one holder at a time. The
//! uninstallation locks the whole ledger.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, Weak};

use tokio::sync::{
    Mutex, Notify, OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock,
};

use super::format::{Line, Planned};
use super::record::Record;
use super::{Inner, LedgerError, RecordKey};
use crate::call_limits::{CallLimits, Resource, WaitError};
use crate::model::Attachment;
use crate::mutex::lock;

/// Read-locked by the holder of each container lock, write-locked by the holder of the whole
/// ledger.
#[derive(Debug, Default)]
pub(super) struct GlobalLock {
    lock: Arc<RwLock<()>>,
    /// Notified after each release of a read lock.
    released: Arc<Notify>,
}

/// The locks of the containers that are held or waited for.
pub(super) type ContainerMutexes = StdMutex<HashMap<String, Weak<LockState>>>;

#[derive(Debug, Default)]
pub(super) struct LockState {
    mutex: Arc<Mutex<()>>,
    /// The call that holds the lock, or that held it last.
    holder: StdMutex<String>,
}

/// The lock of one container, which gives access to its records. Released when dropped, also if the
/// holder panics. A holder must not acquire a second lock of the ledger, because that can deadlock.
#[derive(Debug)]
pub(crate) struct ContainerLock {
    ledger: Arc<Inner>,
    container_id: String,
    guards: Arc<ContainerGuards>,
}

/// The guards of a container lock, which are released from top to bottom.
#[derive(Debug)]
struct ContainerGuards {
    _guard: OwnedMutexGuard<()>,
    _mutex: ContainerMutex,
    _global: GlobalReadGuard,
}

impl ContainerLock {
    pub(super) async fn acquire(
        ledger: Arc<Inner>,
        container_id: &str,
        limits: &CallLimits,
    ) -> Result<Self, WaitError> {
        let global = limits.wait(ledger.global_lock.read(), || {
            Resource::new("the uninstallation to release the ledger")
        });
        let global = global.await?;
        let mutex = ContainerMutex::get(&ledger, container_id);
        let guard = limits.wait(Arc::clone(&mutex.state.mutex).lock_owned(), || {
            let name = format!("the lock of container {container_id}");
            Resource::held(name, [mutex.holder().clone()])
        });
        let guard = guard.await?;
        Ok(Self::new(ledger, guard, mutex, global, &limits.call))
    }

    /// Returns `None` if the lock is held.
    pub(super) fn try_acquire(ledger: Arc<Inner>, container_id: &str, call: &str) -> Option<Self> {
        let global = ledger.global_lock.try_read()?;
        let mutex = ContainerMutex::get(&ledger, container_id);
        let guard = Arc::clone(&mutex.state.mutex).try_lock_owned().ok()?;
        Some(Self::new(ledger, guard, mutex, global, call))
    }

    fn new(
        ledger: Arc<Inner>,
        guard: OwnedMutexGuard<()>,
        mutex: ContainerMutex,
        global: GlobalReadGuard,
        call: &str,
    ) -> Self {
        call.clone_into(&mut mutex.holder());
        let container_id = mutex.container_id.clone();
        let guards = Arc::new(ContainerGuards {
            _guard: guard,
            _mutex: mutex,
            _global: global,
        });
        Self {
            ledger,
            container_id,
            guards,
        }
    }

    pub(crate) fn container_id(&self) -> &str {
        &self.container_id
    }

    /// The record of an interface of this container.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] if the file is damaged. The file has then been moved to the
    /// quarantine, so that DEL can continue without it (P-090, R-086). [`LedgerError::Newer`] if a
    /// newer plexusd wrote the file.
    pub(crate) fn load(&self, ifname: &str) -> Result<Option<Record>, LedgerError> {
        let key = self.key(ifname);
        let loaded = self.ledger.journal.load(&key);
        if loaded.as_ref().is_err_and(LedgerError::is_quarantined) {
            lock(&self.ledger.sandboxes).remove(&key);
        }
        loaded
    }

    /// The interfaces of this container that have records.
    ///
    /// # Errors
    /// [`LedgerError::Io`] if the directory cannot be read.
    pub(crate) fn interfaces(&self) -> Result<Vec<String>, LedgerError> {
        let keys = self.ledger.journal.keys()?;
        Ok(keys
            .into_iter()
            .filter(|key| key.container_id == self.container_id)
            .map(|key| key.ifname)
            .collect())
    }

    /// Writes a plan durably; no plugin may run before this returns. Dropping the future
    /// does not stop the write: the lock is held until it ends, and the record then says that
    /// nothing was started.
    ///
    /// # Errors
    /// [`LedgerError::AlreadyAttached`] if there is a record. After an error, this call leaves no
    /// file behind.
    pub(crate) async fn plan(&self, planned: Planned) -> Result<Record, LedgerError> {
        self.assert_own(&planned);
        self.write_durably(move |ledger| {
            let record = ledger.journal.create(planned)?;
            lock(&ledger.sandboxes).insert(&record.planned);
            ledger.forget_deleted(&record.planned.key());
            Ok(record)
        })
        .await
    }

    /// Changes the attachments of an attached record durably; see [`Record::change`]. Dropping the
    /// future does not stop the write, as in [`ContainerLock::plan`].
    ///
    /// # Errors
    /// [`LedgerError::Io`]; the file has the old content or the new one, and `record` the new one.
    pub(crate) async fn change(
        &self,
        record: &mut Record,
        further: Vec<Attachment>,
        outdates_status: bool,
    ) -> Result<(), LedgerError> {
        self.assert_own(&record.planned);
        record.change(further, outdates_status);
        let key = record.planned.key();
        let bytes = record
            .to_bytes()
            .map_err(LedgerError::io("write", self.ledger.journal.dir()))?;
        self.write_durably(move |ledger| ledger.journal.replace(&key, &bytes))
            .await
    }

    /// Runs `write` to its end with the lock held.
    async fn write_durably<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Inner) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (ledger, guards) = (Arc::clone(&self.ledger), Arc::clone(&self.guards));
        let task = tokio::task::spawn_blocking(move || {
            let _guards = guards;
            write(&ledger)
        });
        task.await.unwrap_or_else(|panic| {
            Err(LedgerError::Io {
                action: "write a plan to",
                path: self.ledger.journal.dir().to_owned(),
                error: std::io::Error::other(panic),
            })
        })
    }

    /// Appends a line to the file, and applies it to `record`.
    ///
    /// # Errors
    /// [`LedgerError::Io`]; `record` and the meaning of the file are then unchanged.
    pub(crate) fn append(&self, record: &mut Record, line: Line) -> Result<(), LedgerError> {
        self.assert_own(&record.planned);
        self.ledger.journal.append(&record.planned.key(), &line)?;
        record.apply(line);
        Ok(())
    }

    /// Removes a record: its DEL has succeeded, or an operator has abandoned it.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub(crate) fn remove(&self, record: Record) -> Result<(), LedgerError> {
        let Record { planned, .. } = record;
        self.assert_own(&planned);
        let key = planned.key();
        self.ledger.journal.remove(&key)?;
        lock(&self.ledger.sandboxes).remove(&key);
        self.ledger.remember_deleted(key);
        Ok(())
    }

    /// Moves a record to the retired records: its DEL can never succeed. Returns the new path of its
    /// file.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub(crate) fn retire(&self, record: Record) -> Result<PathBuf, LedgerError> {
        let Record { planned, .. } = record;
        self.assert_own(&planned);
        let key = planned.key();
        let moved_to = self.ledger.journal.retire(&key)?;
        lock(&self.ledger.sandboxes).remove(&key);
        self.ledger.remember_deleted(key);
        Ok(moved_to)
    }

    /// Remembers an interface of this container as recently deleted: its ADD was refused before
    /// anything ran.
    pub(crate) fn remember_refused(&self, ifname: &str) {
        self.ledger.remember_deleted(self.key(ifname));
    }

    fn key(&self, ifname: &str) -> RecordKey {
        RecordKey::new(&self.container_id, ifname)
    }

    fn assert_own(&self, planned: &Planned) {
        debug_assert_eq!(
            planned.container_id, self.container_id,
            "a record is written under the lock of its container"
        );
    }
}

/// The container lock of an ADD, the only ADD of its key.
#[derive(Debug)]
pub(crate) struct AddLock {
    lock: ContainerLock,
    _in_flight: InFlightGuard,
}

impl AddLock {
    pub(super) async fn acquire(
        ledger: Arc<Inner>,
        key: RecordKey,
        limits: &CallLimits,
    ) -> Result<Self, LedgerError> {
        let in_flight = InFlightGuard::new(&ledger, key)?;
        let lock = ContainerLock::acquire(ledger, &in_flight.key.container_id, limits).await?;
        Ok(Self {
            lock,
            _in_flight: in_flight,
        })
    }
}

impl Deref for AddLock {
    type Target = ContainerLock;

    fn deref(&self) -> &ContainerLock {
        &self.lock
    }
}

/// The lock of the whole ledger. No container lock is held or acquired meanwhile.
#[derive(Debug)]
pub(crate) struct LedgerLock {
    ledger: Arc<Inner>,
    _global: OwnedRwLockWriteGuard<()>,
}

impl LedgerLock {
    pub(super) async fn acquire(ledger: Arc<Inner>) -> Self {
        let global = ledger.global_lock.write().await;
        Self {
            ledger,
            _global: global,
        }
    }

    /// The keys of all records.
    ///
    /// # Errors
    /// [`LedgerError::Io`] if the directory cannot be read: an empty list would be wrong.
    pub(crate) fn keys(&self) -> Result<Vec<RecordKey>, LedgerError> {
        self.ledger.journal.keys()
    }
}

/// A read lock of the [`GlobalLock`].
#[derive(Debug)]
struct GlobalReadGuard {
    // Released in this order.
    _guard: OwnedRwLockReadGuard<()>,
    _notice: ReleaseNotice,
}

/// Notifies those who wait for the whole ledger when dropped.
#[derive(Debug)]
struct ReleaseNotice(Arc<Notify>);

impl GlobalLock {
    async fn read(&self) -> GlobalReadGuard {
        self.guard(Arc::clone(&self.lock).read_owned().await)
    }

    fn try_read(&self) -> Option<GlobalReadGuard> {
        let guard = Arc::clone(&self.lock).try_read_owned().ok()?;
        Some(self.guard(guard))
    }

    fn guard(&self, guard: OwnedRwLockReadGuard<()>) -> GlobalReadGuard {
        GlobalReadGuard {
            _guard: guard,
            _notice: ReleaseNotice(Arc::clone(&self.released)),
        }
    }

    /// Waits until there is no read lock. Does not queue for the lock: the queue would block all
    /// new calls of the node while a single one hangs.
    async fn write(&self) -> OwnedRwLockWriteGuard<()> {
        loop {
            let mut released = pin!(self.released.notified());
            released.as_mut().enable();
            if let Ok(guard) = Arc::clone(&self.lock).try_write_owned() {
                return guard;
            }
            released.await;
        }
    }
}

impl Drop for ReleaseNotice {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

/// A reference to the lock of a container. The last reference removes the lock from the map.
#[derive(Debug)]
struct ContainerMutex {
    ledger: Arc<Inner>,
    container_id: String,
    state: Arc<LockState>,
}

impl ContainerMutex {
    fn get(ledger: &Arc<Inner>, container_id: &str) -> Self {
        let mut mutexes = lock(&ledger.container_mutexes);
        let state = mutexes
            .get(container_id)
            .and_then(Weak::upgrade)
            .unwrap_or_else(|| {
                let state = Arc::new(LockState::default());
                mutexes.insert(container_id.to_owned(), Arc::downgrade(&state));
                state
            });
        Self {
            ledger: Arc::clone(ledger),
            container_id: container_id.to_owned(),
            state,
        }
    }

    fn holder(&self) -> MutexGuard<'_, String> {
        lock(&self.state.holder)
    }
}

impl Drop for ContainerMutex {
    fn drop(&mut self) {
        let mut mutexes = lock(&self.ledger.container_mutexes);
        // The count cannot increase meanwhile: new references come from the map, which is locked.
        if Arc::strong_count(&self.state) == 1 {
            mutexes.remove(&self.container_id);
        }
    }
}

/// Marks the ADD of a key as in flight until dropped.
#[derive(Debug)]
struct InFlightGuard {
    ledger: Arc<Inner>,
    key: RecordKey,
}

impl InFlightGuard {
    fn new(ledger: &Arc<Inner>, key: RecordKey) -> Result<Self, LedgerError> {
        if lock(&ledger.adds_in_flight).insert(key.clone()) {
            Ok(Self {
                ledger: Arc::clone(ledger),
                key,
            })
        } else {
            Err(LedgerError::InFlight { key })
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        lock(&self.ledger.adds_in_flight).remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
