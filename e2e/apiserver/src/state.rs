//! The state that all requests share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use crate::access::AccessControl;
use crate::audit::AuditLog;
use crate::faults::Faults;
use crate::lock::lock;
use crate::network::Network;
use crate::store::Store;
use crate::watch_registry::WatchRegistry;

/// The state of the server, without the connections.
#[derive(Debug)]
pub struct ServerState {
    store: Mutex<Store>,
    access: Mutex<AccessControl>,
    pub audit: Arc<AuditLog>,
    pub faults: Faults,
    pub network: Network,
    pub watches: Arc<WatchRegistry>,
    /// Counts the calls of [`ApiServer::bookmark`](crate::ApiServer::bookmark).
    pub bookmark_requests: watch::Sender<u64>,
    /// The address of the first listener.
    pub address: SocketAddr,
}

impl ServerState {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            store: Mutex::new(Store::new()),
            access: Mutex::default(),
            audit: Arc::default(),
            faults: Faults::default(),
            network: Network::new(),
            watches: Arc::default(),
            bookmark_requests: watch::Sender::new(0),
            address,
        }
    }

    /// Locks the objects.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// Locks the tokens and RBAC rules.
    pub fn access(&self) -> MutexGuard<'_, AccessControl> {
        lock(&self.access)
    }
}
