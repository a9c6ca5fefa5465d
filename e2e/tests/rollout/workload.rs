//! What the runtime's threads share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

use plexus_e2e::{CniOutput, CniTarget, PlexusInCluster, Runtime, Sandbox};

use crate::phase::CallTimes;

/// The interval of STATUS calls. containerd calls it a hundred times less often.
const STATUS_INTERVAL: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_mins(1);

/// The pods of the runtime and their results.
pub struct Workload<'a, 'n> {
    pub plexus: &'a PlexusInCluster<'n>,
    pub times: CallTimes,
    sandboxes: AtomicU64,
    finished: AtomicBool,
    /// The number of pods that have been started and stopped, or the first failure.
    completed: Mutex<Result<u64, String>>,
    changed: Condvar,
}

impl<'a, 'n> Workload<'a, 'n> {
    pub fn new(plexus: &'a PlexusInCluster<'n>) -> Self {
        Self {
            plexus,
            times: CallTimes::default(),
            sandboxes: AtomicU64::new(0),
            finished: AtomicBool::new(false),
            completed: Mutex::new(Ok(0)),
            changed: Condvar::new(),
        }
    }

    /// Starts no further pods.
    pub fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }

    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Relaxed)
    }

    /// A sandbox with a unique name.
    pub fn sandbox(&self) -> Sandbox<'n> {
        let number = self.sandboxes.fetch_add(1, Ordering::Relaxed);
        self.plexus.node.sandbox(&format!("sandbox{number}"))
    }

    /// Makes a call. Fails if the call failed and must not fail in the current phase.
    pub fn call(
        &self,
        runtime: &Runtime<'n>,
        operation: &str,
        target: &CniTarget,
    ) -> Result<CniOutput, String> {
        let start = Instant::now();
        let output = match operation {
            "ADD" => runtime.add(target),
            "DEL" => runtime.del(target),
            _ => runtime.check(target),
        };
        let phases = self.times.record(operation, start);
        if output.ok() || phases.iter().any(|phase| phase.allows_failure(operation)) {
            return Ok(output);
        }
        Err(format!("{operation} failed during {phases:?}: {output:?}"))
    }

    /// Calls STATUS until `stop` is closed. Each call must succeed.
    pub fn call_status(&self, stop: &mpsc::Receiver<()>) {
        // The pause leaves CPU time for other threads.
        while let Err(mpsc::RecvTimeoutError::Timeout) = stop.recv_timeout(STATUS_INTERVAL) {
            let start = Instant::now();
            let output = self.plexus.plain_runtime.status();
            let phases = self.times.record("STATUS", start);
            if !output.ok() {
                return self.fail(format!("STATUS failed during {phases:?}: {output:?}"));
            }
        }
    }

    /// Counts a pod that has been started and stopped.
    pub fn complete_pod(&self) {
        let mut completed = self.completed.lock().expect("lock is not poisoned");
        if let Ok(count) = completed.as_mut() {
            *count += 1;
        }
        self.changed.notify_all();
    }

    /// Reports a failure. Only the first one is kept, because it may have caused the others.
    pub fn fail(&self, reason: String) {
        let mut completed = self.completed.lock().expect("lock is not poisoned");
        if completed.is_ok() {
            *completed = Err(reason);
        }
        self.changed.notify_all();
    }

    /// Waits until this many more pods are completed. Panics after a failure.
    pub fn wait_completed(&self, more: u64) {
        let completed = self.completed.lock().expect("lock is not poisoned");
        let end = completed.as_ref().map_or(0, |count| count + more);
        let (completed, timeout) = self
            .changed
            .wait_timeout_while(completed, TIMEOUT, |completed| {
                completed.as_ref().is_ok_and(|count| *count < end)
            })
            .expect("lock is not poisoned");
        let failure = completed.as_ref().err().cloned();
        drop(completed);
        assert!(failure.is_none(), "{}", failure.unwrap_or_default());
        assert!(!timeout.timed_out(), "no pod was completed in {TIMEOUT:?}");
    }

    /// The number of completed pods. Panics after a failure.
    pub fn completed(&self) -> u64 {
        let completed = self.completed.lock().expect("lock is not poisoned").clone();
        completed.unwrap_or_else(|reason| panic!("{reason}"))
    }
}
