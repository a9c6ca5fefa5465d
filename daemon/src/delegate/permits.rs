//! The bound on how many requests run plugins at one time, and who is next.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::mutex::lock;
use crate::telemetry::PermitsReading;

/// After so many grants in a row to one class, a lower class that waits has its turn.
const GRANTS_IN_A_ROW: u32 = 3;

/// Who goes first: what frees resources, then what a pod waits for, then what nobody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// DEL.
    Del,
    /// ADD, CHECK and all else that a runtime asks for.
    Add,
    /// What the daemon cleans up by itself.
    Recovery,
}

/// The right to run the plugins of one request. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit(Option<Permits>);

#[derive(Debug, Clone)]
pub(super) struct Permits(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    all: usize,
    free: usize,
    classes: [Class; 3],
}

#[derive(Debug, Default)]
struct Class {
    waiting: VecDeque<oneshot::Sender<Permit>>,
    in_a_row: u32,
}

impl Permits {
    pub(super) fn new(count: usize) -> Self {
        let all = count.max(1);
        Self(Arc::new(Mutex::new(State {
            all,
            free: all,
            classes: Default::default(),
        })))
    }

    pub(super) async fn take(&self, priority: Priority) -> Permit {
        let granted = self.with(|state| {
            if let Some(free) = state.free.checked_sub(1) {
                state.free = free;
                return None;
            }
            let (waiter, granted) = oneshot::channel();
            state.classes[priority as usize].waiting.push_back(waiter);
            Some(granted)
        });
        match granted {
            None => Permit(Some(self.clone())),
            // A waiter is never dropped unanswered: the queues live as long as `self`, and only `give` takes from them.
            Some(granted) => granted.await.expect("a waiter is answered"),
        }
    }

    pub(super) fn reading(&self) -> PermitsReading {
        self.with(|State { all, free, classes }| PermitsReading {
            all: *all,
            used: *all - *free,
            waiting: [0, 1, 2].map(|class: usize| {
                let waiting = &classes[class].waiting;
                // One that has stopped waiting stays in the queue until its turn.
                waiting.iter().filter(|waiter| !waiter.is_closed()).count()
            }),
        })
    }

    /// Hands a slot to the next who waits, or keeps it.
    fn give(&self) {
        let next = || {
            self.with(|state| {
                let next = state.next();
                if next.is_none() {
                    state.free += 1;
                }
                next
            })
        };
        while let Some(waiter) = next() {
            match waiter.send(Permit(Some(self.clone()))) {
                Ok(()) => return,
                // It stopped waiting. Disarmed, or dropping the slot would come back here.
                Err(mut slot) => slot.0 = None,
            }
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut lock(&self.0))
    }
}

impl State {
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        for index in 0..self.classes.len() {
            let (upper, lower) = self.classes.split_at_mut(index + 1);
            let class = &mut upper[index];
            if class.in_a_row == GRANTS_IN_A_ROW
                && lower.iter().any(|class| !class.waiting.is_empty())
            {
                class.in_a_row = 0;
                continue;
            }
            if let Some(waiter) = class.waiting.pop_front() {
                class.in_a_row = (class.in_a_row + 1).min(GRANTS_IN_A_ROW);
                return Some(waiter);
            }
        }
        None
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(slots) = self.0.take() {
            slots.give();
        }
    }
}
