//! Limits how many calls run plugins at the same time, and decides which waiting call is next.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::mutex::lock;
use crate::telemetry::PermitsReading;

/// After this many grants in a row to one priority, a waiting call of a lower priority gets a
/// permit.
const GRANTS_IN_A_ROW: u32 = 3;

/// The priority of a waiting call, highest first: calls that free resources go before calls that
/// need them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    Del,
    /// ADD, CHECK and STATUS.
    Add,
    /// Background cleanup.
    Recovery,
}

/// A permit to run the plugins of one call, released on drop. `None` if there is nothing to
/// release.
#[derive(Debug)]
pub(crate) struct Permit(Option<Permits>);

#[derive(Debug, Clone)]
pub(super) struct Permits(Arc<Mutex<PermitPool>>);

#[derive(Debug)]
struct PermitPool {
    total: usize,
    free: usize,
    /// By priority.
    queues: [Queue; 3],
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<oneshot::Sender<Permit>>,
    grants_in_a_row: u32,
}

impl Permits {
    pub(super) fn new(count: usize) -> Self {
        let total = count.max(1);
        Self(Arc::new(Mutex::new(PermitPool {
            total,
            free: total,
            queues: Default::default(),
        })))
    }

    pub(super) async fn acquire(&self, priority: Priority) -> Permit {
        let granted = self.with_pool(|pool| {
            if let Some(free) = pool.free.checked_sub(1) {
                pool.free = free;
                return None;
            }
            let (waiter, granted) = oneshot::channel();
            pool.queues[priority as usize].waiting.push_back(waiter);
            Some(granted)
        });
        match granted {
            None => Permit(Some(self.clone())),
            // The queues live as long as `self`, and only `release` removes a waiter, by a grant.
            Some(granted) => granted.await.expect("every waiter gets a permit"),
        }
    }

    pub(super) fn reading(&self) -> PermitsReading {
        self.with_pool(|pool| PermitsReading {
            total: pool.total,
            in_use: pool.total - pool.free,
            waiting: [0, 1, 2].map(|queue: usize| {
                let waiting = &pool.queues[queue].waiting;
                // A waiter that has given up stays in the queue until its turn.
                waiting.iter().filter(|waiter| !waiter.is_closed()).count()
            }),
        })
    }

    /// Grants a released permit to the next waiter, or marks it free.
    fn release(&self) {
        let next = || {
            self.with_pool(|pool| {
                let next = pool.next();
                if next.is_none() {
                    pool.free += 1;
                }
                next
            })
        };
        while let Some(waiter) = next() {
            match waiter.send(Permit(Some(self.clone()))) {
                Ok(()) => return,
                // The waiter has given up. Dropping its permit must not release again.
                Err(mut permit) => permit.0 = None,
            }
        }
    }

    fn with_pool<T>(&self, f: impl FnOnce(&mut PermitPool) -> T) -> T {
        f(&mut lock(&self.0))
    }
}

impl PermitPool {
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        for index in 0..self.queues.len() {
            let (upper, lower) = self.queues.split_at_mut(index + 1);
            let queue = &mut upper[index];
            if queue.grants_in_a_row == GRANTS_IN_A_ROW
                && lower.iter().any(|queue| !queue.waiting.is_empty())
            {
                queue.grants_in_a_row = 0;
                continue;
            }
            if let Some(waiter) = queue.waiting.pop_front() {
                queue.grants_in_a_row = (queue.grants_in_a_row + 1).min(GRANTS_IN_A_ROW);
                return Some(waiter);
            }
        }
        None
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(permits) = self.0.take() {
            permits.release();
        }
    }
}
