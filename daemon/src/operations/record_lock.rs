//! The locks under which a record is loaded, and the memory for it.

use crate::call_limits::{CallLimits, WaitError};
use crate::context::Context;
use crate::delegate::{AttachGuard, GuardScope, Priority};
use crate::ledger::{ContainerLock, Ledger, RecordKey};
use crate::memory_budget::{MemoryBudget, Reservation};

/// Memory for a record, reserved before the record is loaded (decision 37) and before a lock or a
/// permit is acquired: a call that waits for memory must hold nothing that another call needs.
#[derive(Debug)]
pub(crate) struct RecordMemory {
    _reservation: Reservation,
    /// The size of the record's file, in bytes. Only changes under the container lock.
    file_size: usize,
}

impl RecordMemory {
    /// # Errors
    /// The limits ended the wait.
    pub(crate) async fn reserve(
        context: &Context,
        key: &RecordKey,
        limits: &CallLimits,
    ) -> Result<Self, WaitError> {
        Self::of(&context.ledger, &context.node.memory, key, limits).await
    }

    pub(super) async fn of(
        ledger: &Ledger,
        memory: &MemoryBudget,
        key: &RecordKey,
        limits: &CallLimits,
    ) -> Result<Self, WaitError> {
        let file_size = ledger.size(key);
        let reservation = memory.reserve(loaded_size(file_size), limits).await?;
        Ok(Self {
            _reservation: reservation,
            file_size,
        })
    }
}

/// The bytes of memory for a record with a file of this size: the text of the file is parsed as a
/// whole, its results are parsed once more, and plugins get a copy of them.
pub(crate) fn loaded_size(file_size: usize) -> usize {
    file_size.saturating_mul(4)
}

/// Waits until a container can be locked, with memory for one of its records.
///
/// # Errors
/// The limits ended the wait.
pub(crate) async fn lock_for_record(
    context: &Context,
    key: &RecordKey,
    limits: &CallLimits,
) -> Result<(ContainerLock, RecordMemory), WaitError> {
    lock_with_memory(&context.ledger, &context.node.memory, key, limits).await
}

async fn lock_with_memory(
    ledger: &Ledger,
    memory: &MemoryBudget,
    key: &RecordKey,
    limits: &CallLimits,
) -> Result<(ContainerLock, RecordMemory), WaitError> {
    loop {
        let memory = RecordMemory::of(ledger, memory, key, limits).await?;
        let lock = ledger.lock_container(&key.container_id, limits).await?;
        // The call that held the lock may have written the record, whose size changes only under the
        // lock.
        if ledger.size(key) <= memory.file_size {
            return Ok((lock, memory));
        }
    }
}

/// Waits until a container can be locked and plugins may run within `scope`, with memory for one of
/// the container's records.
///
/// # Errors
/// The limits ended the wait.
pub(crate) async fn lock_with_guard(
    context: &Context,
    priority: Priority,
    key: &RecordKey,
    scope: &GuardScope,
    limits: &CallLimits,
) -> Result<(ContainerLock, AttachGuard, RecordMemory), WaitError> {
    loop {
        let memory = RecordMemory::reserve(context, key, limits).await?;
        let file_size = memory.file_size;
        let locked = lock_within(context, priority, key, scope, file_size, limits);
        if let Some((lock, guard)) = locked.await? {
            return Ok((lock, guard, memory));
        }
    }
}

/// Waits until a container can be locked and plugins may run within `scope`. Holds neither the lock
/// nor the guard while it waits for the other: a DEL of the runtime needs the lock and has a higher
/// priority. `file_size` is the size of the record for which the caller has reserved memory. Returns
/// `None` if the record has outgrown it or another call locks the container after the wait for the
/// guard: the caller starts again without that memory, since a wait for more must hold none.
///
/// # Errors
/// The limits ended the wait.
pub(crate) async fn lock_within(
    context: &Context,
    priority: Priority,
    key: &RecordKey,
    scope: &GuardScope,
    file_size: usize,
    limits: &CallLimits,
) -> Result<Option<(ContainerLock, AttachGuard)>, WaitError> {
    let (ledger, delegates) = (&context.ledger, &context.node.delegates);
    let suffices = || ledger.size(key) <= file_size;
    let lock = ledger.lock_container(&key.container_id, limits).await?;
    if !suffices() {
        return Ok(None);
    }
    if let Some(guard) = delegates.try_attach_guard(scope, &limits.call) {
        return Ok(Some((lock, guard)));
    }
    drop(lock);
    let guard = delegates.attach_guard(priority, scope, limits).await?;
    let lock = ledger.try_lock_container(&key.container_id, &limits.call);
    Ok(lock.filter(|_| suffices()).map(|lock| (lock, guard)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::{fs, pin::pin};

    use futures_util::poll;
    use tokio_util::sync::CancellationToken;

    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn the_memory_of_a_record_that_grew_before_the_lock_is_reserved_without_the_lock() {
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = Ledger::open(dir.path(), Duration::ZERO).expect("a ledger");
        let memory = MemoryBudget::new(2 * MIB);
        let limits = CallLimits::background("test", CancellationToken::new());
        let key = RecordKey::new("c1", "eth0");
        let whole = memory.reserve(2 * MIB, &limits).await.expect("free");
        let add = ledger.lock_container("c1", &limits).await.expect("free");
        let mut del = pin!(lock_with_memory(&ledger, &memory, &key, &limits));
        assert!(poll!(&mut del).is_pending(), "the container is locked");
        let record = dir.path().join("ledger/c1:eth0.jsonl");
        fs::write(record, "x".repeat(MIB)).expect("the record of the ADD");
        drop(add);
        assert!(poll!(&mut del).is_pending(), "the memory is used");
        let other = ledger.lock_container("c1", &limits).await;
        drop(other.expect("the container is free"));
        drop(whole);
        let _locked = del.await.expect("memory");
        assert!(
            ledger.try_lock_container("c1", "other").is_none(),
            "the container is locked again"
        );
    }
}
