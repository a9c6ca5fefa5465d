//! The watches that are running, so that tests can count them and close their connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::lock::lock;
use crate::network::Connection;

/// The resource and the connection of every running watch, by an ID.
#[derive(Debug, Default)]
pub struct WatchRegistry(Mutex<BTreeMap<u64, (String, Connection)>>);

impl WatchRegistry {
    /// Adds a watch. It is removed when the returned value is dropped.
    pub fn register(self: &Arc<Self>, resource: &str, connection: Connection) -> RegisteredWatch {
        let mut watches = lock(&self.0);
        let id = watches.last_key_value().map_or(0, |(id, _)| id + 1);
        watches.insert(id, (resource.to_owned(), connection.clone()));
        RegisteredWatch {
            registry: self.clone(),
            id,
            connection,
        }
    }

    /// The connections of the running watches of a resource, or of all for `*`.
    pub fn connections(&self, resource: &str) -> Vec<Connection> {
        lock(&self.0)
            .values()
            .filter(|(watched, _)| resource == "*" || watched == resource)
            .map(|(_, connection)| connection.clone())
            .collect()
    }
}

/// An entry of a [`WatchRegistry`], removed on drop.
#[derive(Debug)]
pub struct RegisteredWatch {
    registry: Arc<WatchRegistry>,
    id: u64,
    connection: Connection,
}

impl RegisteredWatch {
    /// The connection that carries the watch.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for RegisteredWatch {
    fn drop(&mut self) {
        lock(&self.registry.0).remove(&self.id);
    }
}
