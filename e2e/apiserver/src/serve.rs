//! The accept loop: serves HTTP/1.1 over TLS while the network state allows it.

use std::convert::Infallible;
use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::handler;
use crate::network::{Connection, NetworkState};
use crate::state::ServerState;

/// Serves connections to `listener` on `runtime` until the network is closed.
///
/// Blocks its own thread instead of using the reactor, which would keep outdated readiness of a
/// socket that stops and resumes listening.
pub fn serve(
    listener: &TcpListener,
    tls: Arc<ServerConfig>,
    state: &Arc<ServerState>,
    runtime: &Handle,
) {
    let acceptor = TlsAcceptor::from(tls);
    let mut network = state.network.subscribe();
    loop {
        if let Ok((stream, _)) = listener.accept() {
            let connection = state.network.add_connection();
            let (acceptor, state) = (acceptor.clone(), state.clone());
            let network = state.network.subscribe();
            let served = serve_connection(stream, acceptor, state, connection.clone());
            runtime.spawn(run_on_network(network, connection, served));
            continue;
        }
        let listening = network.wait_for(|state| *state != NetworkState::Down);
        if runtime
            .block_on(listening)
            .is_ok_and(|state| *state == NetworkState::Closed)
        {
            return;
        }
    }
}

/// Polls `served` unless the network is partitioned, until the connection is closed.
async fn run_on_network(
    mut network: watch::Receiver<NetworkState>,
    connection: Connection,
    served: impl Future<Output = ()>,
) {
    let mut served = pin!(served);
    loop {
        let partitioned = *network.borrow_and_update() == NetworkState::Partitioned;
        tokio::select! {
            biased;
            () = connection.closed() => return,
            changed = network.changed() => if changed.is_err() { return },
            () = &mut served, if !partitioned => return,
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    state: Arc<ServerState>,
    connection: Connection,
) {
    let configured = stream
        .set_nodelay(true)
        .and_then(|()| stream.set_nonblocking(true));
    let Ok(stream) = configured.and_then(|()| tokio::net::TcpStream::from_std(stream)) else {
        return;
    };
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let (state, connection) = (state.clone(), connection.clone());
        async move {
            let request = request.map(axum::body::Body::new);
            Ok::<_, Infallible>(handler::handle(state, connection, request).await)
        }
    });
    // Clients may disconnect at any time.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
