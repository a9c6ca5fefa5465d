//! Sequences of pods that start and stop while plexusd is killed at random points. After each
//! sequence the node has only the state of its running pods.
//!
//! All random choices follow from a seed.

mod kill;
mod pod_calls;
mod random;
mod sequence;

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::{Node, NodeError};
pub use random::Random;
use sequence::Sequence;

/// A series of sequences.
#[derive(Debug)]
pub struct Sequences {
    /// The directory of the [reference plugins](crate::real_networks::PLUGINS).
    pub plugins: PathBuf,
    /// The seed of the first sequence. Each other sequence has the next number.
    pub first: u64,
    pub count: u64,
}

/// The results of a series.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many sequences were run.
    pub sequences: u64,
    /// How many processes were killed.
    pub kills: u64,
    /// The seeds of the sequences that failed. The reasons are on stderr.
    pub failed: Vec<u64>,
}

impl Sequences {
    /// Runs the sequences, each on a node of its own and several at a time, because they mostly
    /// wait. Starts no further sequence after a failure.
    ///
    /// # Errors
    /// No node can be made.
    pub fn run(&self) -> Result<Outcome, NodeError> {
        // Otherwise each sequence would report the same error.
        drop(Node::new()?);
        let next = AtomicU64::new(self.first);
        let outcome = Mutex::new(Outcome::default());
        let end = self.first.saturating_add(self.count);
        thread::scope(|scope| {
            for _ in 0..2 * thread::available_parallelism().map_or(2, NonZero::get) {
                scope.spawn(|| while self.run_next(&next, end, &outcome) {});
            }
        });
        Ok(outcome.into_inner().expect("lock is not poisoned"))
    }

    fn run_next(&self, next: &AtomicU64, end: u64, outcome: &Mutex<Outcome>) -> bool {
        let lock = || outcome.lock().expect("lock is not poisoned");
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || !lock().failed.is_empty() {
            return false;
        }
        let kills = catch_unwind(AssertUnwindSafe(|| {
            let node = Node::new().unwrap_or_else(|error| panic!("no node: {error:?}"));
            Sequence::new(&node, &self.plugins, seed).run()
        }));
        let mut outcome = lock();
        outcome.sequences += 1;
        if let Ok(kills) = kills {
            outcome.kills += kills;
        } else {
            eprintln!("sequence {seed} failed: repeat it with --seed {seed} --count 1");
            outcome.failed.push(seed);
        }
        true
    }
}
