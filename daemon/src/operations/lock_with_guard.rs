//! Acquires both the lock of a container and the guard to run its plugins.

use crate::call_limits::{CallLimits, WaitError};
use crate::context::Context;
use crate::delegate::{AttachGuard, GuardScope, Priority};
use crate::ledger::ContainerLock;

/// Waits until a container can be locked and plugins may run within `scope`. Holds
/// neither while it waits for the other: a DEL of the runtime needs the lock and has a higher
/// priority.
///
/// # Errors
/// The limits ended the wait.
pub(crate) async fn lock_with_guard(
    context: &Context,
    priority: Priority,
    container_id: &str,
    scope: &GuardScope,
    limits: &CallLimits,
) -> Result<(ContainerLock, AttachGuard), WaitError> {
    let (ledger, delegates) = (&context.ledger, &context.node.delegates);
    loop {
        let lock = ledger.lock_container(container_id, limits).await?;
        if let Some(guard) = delegates.try_attach_guard(scope, &limits.call) {
            return Ok((lock, guard));
        }
        drop(lock);
        let guard = delegates.attach_guard(priority, scope, limits).await?;
        if let Some(lock) = ledger.try_lock_container(container_id, &limits.call) {
            return Ok((lock, guard));
        }
    }
}
