//! What all requests share.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::audit::Audit;
use super::faults::Faults;
use super::serve::{Connection, Link, set_listening};
use super::store::Store;

/// The server behind its connections.
#[derive(Debug)]
pub struct Shared {
    store: Mutex<Store>,
    access: Mutex<Access>,
    watches: Mutex<BTreeMap<u64, (String, Connection)>>,
    listeners: Mutex<Vec<TcpListener>>,
    outage: Mutex<CancellationToken>,
    /// Every request.
    pub audit: Arc<Audit>,
    /// The faults that are on.
    pub faults: Faults,
    /// Whether the network works; see [`set_link`](Self::set_link).
    pub link: watch::Sender<Link>,
    /// Counts the bookmarks that tests ask for.
    pub nudges: watch::Sender<u64>,
    /// Where it listens first.
    pub address: SocketAddr,
}

impl Shared {
    /// A server without objects, that listens at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            store: Mutex::new(Store::new()),
            access: Mutex::default(),
            watches: Mutex::default(),
            listeners: Mutex::default(),
            outage: Mutex::default(),
            audit: Arc::default(),
            faults: Faults::default(),
            link: watch::Sender::new(Link::Up),
            nudges: watch::Sender::new(0),
            address,
        }
    }

    /// The objects.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tokens and rules.
    pub fn access(&self) -> MutexGuard<'_, Access> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a watch that runs until the answer is dropped.
    pub fn running(self: &Arc<Self>, resource: &str, connection: Connection) -> Running {
        let mut watches = self.watches();
        let id = watches.last_key_value().map_or(0, |(id, _)| id + 1);
        watches.insert(id, (resource.to_owned(), connection.clone()));
        Running {
            shared: self.clone(),
            id,
            connection,
        }
    }

    /// The connections of the watches of a resource that run.
    pub fn watches_of(&self, resource: &str) -> Vec<Connection> {
        let watches = self.watches();
        let of = watches
            .values()
            .filter(|(watched, _)| resource == "*" || watched == resource);
        of.map(|(_, connection)| connection.clone()).collect()
    }

    /// Has one more socket to serve on.
    pub fn listen(&self, listener: &TcpListener) -> io::Result<()> {
        let mut listeners = self.listeners();
        listeners.push(listener.try_clone()?);
        Ok(())
    }

    /// Lets the network fail, or work. When this returns it is so, and what clients see is from before.
    pub fn set_link(&self, link: Link) {
        let listeners = self.listeners();
        let before = *self.link.borrow();
        let listens = |link| !matches!(link, Link::Down | Link::Ended);
        if listens(before) != listens(link) {
            listeners
                .iter()
                .for_each(|listener| set_listening(listener, listens(link)));
            let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
            if listens(link) {
                *outage = CancellationToken::new();
            } else {
                outage.cancel();
            }
        }
        self.link.send_replace(link);
    }

    /// What cuts all connections when the server goes away.
    pub fn outage(&self) -> CancellationToken {
        self.outage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<TcpListener>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn watches(&self) -> MutexGuard<'_, BTreeMap<u64, (String, Connection)>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watch in the list of those that run, until it is dropped.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    id: u64,
    connection: Connection,
}

impl Running {
    /// The connection that it runs on.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.watches().remove(&self.id);
    }
}
