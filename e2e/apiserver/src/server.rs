//! The public interface of the server.

mod objects;
mod requests;
mod users;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::json;
use tokio::runtime::{self, Runtime};
use tokio_rustls::rustls::ServerConfig;

use crate::lock::lock;
use crate::network::NetworkState;
use crate::serve::serve;
use crate::state::ServerState;
use crate::tls;

/// A running API server. It stops when dropped.
pub struct ApiServer {
    state: Arc<ServerState>,
    ca_pem: String,
    tls: Arc<ServerConfig>,
    /// `None` only while the server is dropped.
    runtime: Option<Runtime>,
    accept_threads: Mutex<Vec<JoinHandle<()>>>,
}

impl ApiServer {
    /// Starts a server on the loopback of the current thread's network namespace.
    pub fn start() -> Self {
        Self::on(loopback_listener().expect("a loopback port must be available"))
    }

    /// Starts a server on a listener, for example one of [`loopback_listener`] in another network
    /// namespace.
    pub fn on(listener: TcpListener) -> Self {
        let address = listener
            .local_addr()
            .expect("a listener must have an address");
        let (tls, ca_pem) = tls::identity();
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("api server")
            .enable_all()
            .build()
            .expect("a runtime must start");
        let server = Self {
            state: Arc::new(ServerState::new(address)),
            ca_pem,
            tls,
            runtime: Some(runtime),
            accept_threads: Mutex::default(),
        };
        server.listen(listener);
        for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            server.create(
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            );
        }
        server
    }

    /// Serves on another listener, for example one on the loopback of a node.
    pub fn listen(&self, listener: TcpListener) -> SocketAddr {
        let address = listener
            .local_addr()
            .expect("a listener must have an address");
        listener
            .set_nonblocking(false)
            .expect("a listener must support blocking mode");
        self.state
            .network
            .add_listener(&listener)
            .expect("a listener must be clonable");
        let (tls, state) = (self.tls.clone(), self.state.clone());
        let runtime = self
            .runtime
            .as_ref()
            .expect("the runtime must exist until drop")
            .handle()
            .clone();
        let thread = thread::spawn(move || serve(&listener, tls, &state, &runtime));
        lock(&self.accept_threads).push(thread);
        address
    }

    /// The URL of the first listener: `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// The address of the first listener.
    pub fn address(&self) -> SocketAddr {
        self.state.address
    }

    /// The certificate of the CA that signed the server's certificate, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Takes the server down: connections are closed, and new ones refused. Objects are kept.
    pub fn stop(&self) {
        self.state.network.set_state(NetworkState::Down);
    }

    /// Partitions the network: connections can be opened and stay open, but no data is exchanged.
    pub fn partition(&self) {
        self.state.network.set_state(NetworkState::Partitioned);
    }

    /// Ends [`stop`](Self::stop) or [`partition`](Self::partition).
    pub fn resume(&self) {
        self.state.network.set_state(NetworkState::Up);
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.state.network.set_state(NetworkState::Closed);
        for thread in lock(&self.accept_threads).drain(..) {
            let _ = thread.join();
        }
        if let Some(runtime) = self.runtime.take() {
            // Waiting would panic in asynchronous tests.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

/// A listener on the loopback of the current thread's network namespace.
///
/// The port is bound by number: the kernel would release a port that it chose itself when the
/// socket stops listening.
pub fn loopback_listener() -> io::Result<TcpListener> {
    loop {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        match TcpListener::bind(free) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
}
