//! A budget of memory for large input. Each user reserves what it takes before it loads anything,
//! so that many large users at once wait for each other instead of using up the memory of the
//! daemon (decision 37).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::call_limits::{CallLimits, Resource, WaitError};

/// Up to this many bytes need no reservation, so that ordinary pods never wait.
const UNRESERVED: usize = 64 << 10;
/// The number of bytes of one permit of the semaphore.
const UNIT: usize = 1 << 10;

/// A budget. Clones share it. Waiting users are served in the order of arrival.
#[derive(Debug, Clone)]
pub(crate) struct MemoryBudget {
    free: Arc<Semaphore>,
    units: u32,
}

/// A part of a budget, returned to the budget when dropped.
#[derive(Debug, Default)]
pub(crate) struct Reservation {
    _permit: Option<OwnedSemaphorePermit>,
}

impl MemoryBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX);
        Self {
            free: Arc::new(Semaphore::new(units as usize)),
            units,
        }
    }

    /// Waits until `bytes` of the budget are free. Small amounts need no reservation. A user that
    /// needs more than the whole budget gets the whole budget.
    ///
    /// # Errors
    /// The limits ended the wait.
    pub(crate) async fn reserve(
        &self,
        bytes: usize,
        limits: &CallLimits,
    ) -> Result<Reservation, WaitError> {
        if bytes <= UNRESERVED {
            return Ok(Reservation::default());
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let acquire = Arc::clone(&self.free).acquire_many_owned(units.min(self.units));
        let memory = || Resource::new("memory, which other large requests and pods use");
        let permit = limits.wait(acquire, memory).await?;
        // The semaphore is never closed.
        Ok(Reservation {
            _permit: permit.ok(),
        })
    }
}

#[cfg(test)]
mod tests;
