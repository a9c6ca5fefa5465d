//! Limits the number of concurrent connections of the socket, so that a client that opens many of
//! them takes neither memory nor file descriptors from other callers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::mutex::lock;

/// For all processes. A runtime has one call in flight for each pod that starts or ends.
const MAX_CONNECTIONS: usize = 512;
/// For one process. Each shim is a process of its own, with one connection.
const MAX_OF_PROCESS: usize = 64;

/// The connections that are open. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    total: usize,
    /// By process, where it is known.
    of_process: HashMap<i32, usize>,
}

/// One open connection, which counts until it is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    connections: Connections,
    process: Option<i32>,
}

impl Connections {
    /// Counts a connection of `process`. Returns `None` if there are too many.
    pub(super) fn open(&self, process: Option<i32>) -> Option<OpenConnection> {
        // The kernel reports 0 for all processes of another PID namespace.
        let process = process.filter(|pid| *pid != 0);
        let mut open = lock(&self.0);
        let of_process = process.map(|pid| open.of_process.get(&pid).copied().unwrap_or_default());
        if open.total >= MAX_CONNECTIONS || of_process.is_some_and(|open| open >= MAX_OF_PROCESS) {
            return None;
        }
        open.total += 1;
        if let Some(pid) = process {
            *open.of_process.entry(pid).or_default() += 1;
        }
        Some(OpenConnection {
            connections: self.clone(),
            process,
        })
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let mut open = lock(&self.connections.0);
        open.total -= 1;
        if let Some(pid) = self.process
            && let Some(count) = open.of_process.get_mut(&pid)
        {
            *count -= 1;
            if *count == 0 {
                open.of_process.remove(&pid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_cannot_take_the_connections_of_others() {
        let connections = Connections::default();
        let mut open: Vec<_> = std::iter::from_fn(|| connections.open(Some(7))).collect();
        assert_eq!(open.len(), MAX_OF_PROCESS);
        let other = connections.open(Some(8)).expect("another process");
        open.pop();
        assert!(connections.open(Some(7)).is_some());
        drop((open, other));
        assert!(lock(&connections.0).of_process.is_empty());
    }

    #[test]
    fn the_connections_of_all_processes_are_limited() {
        let connections = Connections::default();
        for unknown in [None, Some(0)] {
            let open: Vec<_> = std::iter::from_fn(|| connections.open(unknown)).collect();
            assert_eq!(open.len(), MAX_CONNECTIONS);
            assert!(connections.open(Some(7)).is_none());
        }
        assert_eq!(lock(&connections.0).total, 0);
    }
}
