//! The simulated network between the server and its clients.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::sync::Mutex;

use nix::sys::socket::{Backlog, Shutdown, listen, shutdown};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::lock::lock;

/// Whether clients can reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkState {
    /// The server is reachable.
    Up,
    /// The server is down: connections are refused, and existing ones are closed.
    Down,
    /// Connections can be opened and stay open, but no data is exchanged.
    Partitioned,
    /// The server has been dropped.
    Closed,
}

impl NetworkState {
    fn accepts_connections(self) -> bool {
        matches!(self, Self::Up | Self::Partitioned)
    }
}

/// A handle to a client connection. Clones close the same connection.
#[derive(Debug, Clone)]
pub struct Connection(CancellationToken);

impl Connection {
    /// Closes the connection at once, even in the middle of a response.
    pub fn close(&self) {
        self.0.cancel();
    }

    /// Whether the connection has been closed by the server.
    pub fn is_closed(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Completes when the connection has been closed by the server.
    pub async fn closed(&self) {
        self.0.cancelled().await;
    }
}

/// The network state, and the listening sockets and connections that depend on it.
#[derive(Debug)]
pub struct Network {
    listeners: Mutex<Vec<TcpListener>>,
    /// The parent token of all connections, replaced each time the server comes up.
    connections: Mutex<CancellationToken>,
    state: watch::Sender<NetworkState>,
}

impl Network {
    /// A network that is up, without listeners.
    pub fn new() -> Self {
        Self {
            listeners: Mutex::default(),
            connections: Mutex::default(),
            state: watch::Sender::new(NetworkState::Up),
        }
    }

    /// Subscribes to changes of the state.
    pub fn subscribe(&self) -> watch::Receiver<NetworkState> {
        self.state.subscribe()
    }

    /// Adds a socket that stops listening while the server is down.
    pub fn add_listener(&self, listener: &TcpListener) -> io::Result<()> {
        lock(&self.listeners).push(listener.try_clone()?);
        Ok(())
    }

    /// A handle for a connection that was just accepted.
    pub fn add_connection(&self) -> Connection {
        Connection(lock(&self.connections).child_token())
    }

    /// Changes the state. On return, the sockets listen or refuse connections accordingly, and
    /// connections that the new state does not allow are being closed.
    pub fn set_state(&self, state: NetworkState) {
        let listeners = lock(&self.listeners);
        let previous = *self.state.borrow();
        if previous.accepts_connections() != state.accepts_connections() {
            for listener in listeners.iter() {
                set_listening(listener, state.accepts_connections());
            }
            let mut connections = lock(&self.connections);
            if state.accepts_connections() {
                *connections = CancellationToken::new();
            } else {
                connections.cancel();
            }
        }
        self.state.send_replace(state);
    }
}

/// Stops or resumes listening. The socket stays open, so the server keeps its port; while the
/// socket does not listen, the kernel refuses connections.
fn set_listening(listener: &TcpListener, on: bool) {
    let result = if on {
        listen(listener, Backlog::MAXCONN)
    } else {
        shutdown(listener.as_raw_fd(), Shutdown::Read)
    };
    result.expect("a listening socket must be able to stop and resume listening");
}
