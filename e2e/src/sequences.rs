//! Sequences of pods that come and go while plexusd is killed at any instant. After each of them nothing is left on
//! the node but what the living pods have.
//!
//! All that is random follows from a seed.

mod blow;
mod random;
mod runtime;
mod world;

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::{Node, NodeError};
pub use random::Random;
use world::World;

/// The plugins that the networks of the sequences are made of.
pub const PLUGINS: [&str; 3] = ["bridge", "macvlan", "host-local"];

/// How many sequences are played, and which.
#[derive(Debug)]
pub struct Sequences {
    /// The directory that has [`PLUGINS`].
    pub plugins: PathBuf,
    /// The seed of the first; the next has the next number.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What came of them.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many were played.
    pub played: u64,
    /// How often something was killed.
    pub kills: u64,
    /// The seeds of those that failed; why is on stderr.
    pub failed: Vec<u64>,
}

impl Sequences {
    /// Plays them, some at a time, each on a node of its own: they wait more than they work. Ends early where one fails.
    ///
    /// # Errors
    /// No node can be made.
    pub fn play(&self) -> Result<Outcome, NodeError> {
        // Where there can be none, that is said once and not by each.
        drop(Node::new()?);
        let next = AtomicU64::new(self.first);
        let outcome = Mutex::new(Outcome::default());
        let end = self.first.saturating_add(self.count);
        thread::scope(|scope| {
            for _ in 0..2 * thread::available_parallelism().map_or(2, NonZero::get) {
                scope.spawn(|| while self.play_next(&next, end, &outcome) {});
            }
        });
        Ok(outcome.into_inner().expect("nobody panics with it"))
    }

    fn play_next(&self, next: &AtomicU64, end: u64, outcome: &Mutex<Outcome>) -> bool {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end
            || !outcome
                .lock()
                .expect("nobody panics with it")
                .failed
                .is_empty()
        {
            return false;
        }
        let played = catch_unwind(AssertUnwindSafe(|| {
            let node = Node::new().unwrap_or_else(|error| panic!("no node: {error:?}"));
            World::new(&node, &self.plugins, seed).play()
        }));
        let mut outcome = outcome.lock().expect("nobody panics with it");
        outcome.played += 1;
        if let Ok(kills) = played {
            outcome.kills += kills;
        } else {
            eprintln!("sequence {seed} failed: play it alone with --seed {seed} --count 1");
            outcome.failed.push(seed);
        }
        true
    }
}
