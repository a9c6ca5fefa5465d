//! Limits how many calls run plugins at the same time, and decides which waiting call is next.
//!
//! Calls with networks that their pods selected belong to groups, and no group may hold all
//! permits: one network whose plugin hangs must not delay pods that do not use the network.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::groups::Group;
use crate::call_limits::{CallLimits, Resource, WaitError};
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
    /// ADD and CHECK.
    Add,
    /// Background cleanup.
    Recovery,
}

/// A permit to run the plugins of one call, released on drop.
#[derive(Debug)]
pub(super) struct Permit {
    pool: Arc<Mutex<Pool>>,
    id: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Permits(Arc<Mutex<Pool>>);

#[derive(Debug)]
struct Pool {
    total: usize,
    next_id: u64,
    holders: BTreeMap<u64, Holder>,
    /// By priority.
    queues: [Queue; 3],
}

/// A call that holds a permit, or waits for one.
#[derive(Debug, Clone)]
struct Holder {
    call: String,
    groups: BTreeSet<Group>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiter>,
    grants_in_a_row: u32,
}

#[derive(Debug)]
struct Waiter {
    call: Holder,
    granted: oneshot::Sender<Permit>,
}

impl Permits {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(Pool {
            total: count.max(1),
            next_id: 0,
            holders: BTreeMap::new(),
            queues: Default::default(),
        })))
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// The limits ended the wait.
    pub(super) async fn acquire(
        &self,
        priority: Priority,
        groups: &BTreeSet<Group>,
        limits: &CallLimits,
    ) -> Result<Permit, WaitError> {
        let call = Holder {
            call: limits.call.clone(),
            groups: groups.clone(),
        };
        let granted = {
            let mut pool = lock(&self.0);
            if pool.has_permit_for(groups) {
                return Ok(self.grant(&mut pool, call));
            }
            let (sender, granted) = oneshot::channel();
            pool.queues[priority as usize].waiting.push_back(Waiter {
                call,
                granted: sender,
            });
            granted
        };
        let permit = limits.wait(granted, || lock(&self.0).resource(groups));
        // The queues live as long as `self`, and only a grant removes a call that still waits.
        Ok(permit.await?.expect("every waiter gets a permit"))
    }

    /// Returns `None` if `call` would have to wait.
    pub(super) fn try_acquire(&self, groups: &BTreeSet<Group>, call: &str) -> Option<Permit> {
        let mut pool = lock(&self.0);
        let call = Holder {
            call: call.to_owned(),
            groups: groups.clone(),
        };
        pool.has_permit_for(groups)
            .then(|| self.grant(&mut pool, call))
    }

    pub(super) fn reading(&self) -> PermitsReading {
        let pool = lock(&self.0);
        PermitsReading {
            total: pool.total,
            in_use: pool.holders.len(),
            waiting: [0, 1, 2].map(|queue: usize| {
                let waiting = &pool.queues[queue].waiting;
                // A waiter that has given up stays in the queue until its turn.
                waiting
                    .iter()
                    .filter(|waiter| !waiter.granted.is_closed())
                    .count()
            }),
        }
    }

    fn grant(&self, pool: &mut Pool, call: Holder) -> Permit {
        pool.next_id += 1;
        pool.holders.insert(pool.next_id, call);
        Permit {
            pool: Arc::clone(&self.0),
            id: pool.next_id,
        }
    }

    /// Grants free permits to waiters.
    fn grant_free(&self) {
        loop {
            let mut pool = lock(&self.0);
            let Some(Waiter { call, granted }) = pool.next() else {
                return;
            };
            let permit = self.grant(&mut pool, call);
            // Not dropped under the lock, which the release of the permit needs.
            drop(pool);
            // A waiter that has given up drops its permit.
            let _ = granted.send(permit);
        }
    }
}

impl Pool {
    fn has_permit_for(&self, groups: &BTreeSet<Group>) -> bool {
        self.holders.len() < self.total && self.full_group(groups).is_none()
    }

    /// The first of `groups` that holds its share of the permits.
    fn full_group<'a>(&self, groups: &'a BTreeSet<Group>) -> Option<&'a Group> {
        groups
            .iter()
            .find(|group| self.members(group).count() >= group.share(self.total))
    }

    fn members<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a Holder> {
        self.holders
            .values()
            .filter(move |holder| holder.groups.contains(group))
    }

    /// Removes the next waiter that can get a permit.
    fn next(&mut self) -> Option<Waiter> {
        for queue in &mut self.queues {
            queue.waiting.retain(|waiter| !waiter.granted.is_closed());
        }
        let positions = [0, 1, 2].map(|queue: usize| {
            let mut waiting = self.queues[queue].waiting.iter();
            waiting.position(|waiter| self.has_permit_for(&waiter.call.groups))
        });
        for (index, queue) in self.queues.iter_mut().enumerate() {
            let Some(position) = positions[index] else {
                continue;
            };
            if queue.grants_in_a_row == GRANTS_IN_A_ROW
                && positions[index + 1..].iter().any(Option::is_some)
            {
                queue.grants_in_a_row = 0;
                continue;
            }
            queue.grants_in_a_row = (queue.grants_in_a_row + 1).min(GRANTS_IN_A_ROW);
            return queue.waiting.remove(position);
        }
        None
    }

    /// What a call with these groups waits for.
    fn resource(&self, groups: &BTreeSet<Group>) -> Resource {
        let total = self.total;
        let (name, holders): (_, Vec<_>) = match self.full_group(groups) {
            Some(group) if self.holders.len() < total => {
                let share = group.share(total);
                let name = format!(
                    "a permit to run plugins for {group} ({share} of {total}, see maxPluginRuns)"
                );
                (name, self.members(group).collect())
            }
            _ => (
                format!("a permit to run plugins (maxPluginRuns: {total})"),
                self.holders.values().collect(),
            ),
        };
        Resource::held(name, holders.iter().map(|holder| holder.call.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        lock(&self.pool).holders.remove(&self.id);
        Permits(Arc::clone(&self.pool)).grant_free();
    }
}
