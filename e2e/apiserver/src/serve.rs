//! Connections: TLS, HTTP/1.1, and a network that can fail.

use std::convert::Infallible;
use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{Backlog, Shutdown, listen, shutdown};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use super::answer::answer;
use super::shared::Shared;

/// Whether the network between the server and its clients works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It does.
    Up,
    /// The server is away: connections are refused, and those that were are closed.
    Down,
    /// Nothing comes through: connections are made and stay, and nobody answers.
    Silent,
    /// The server is away for ever.
    Ended,
}

/// One connection, which can be cut from anywhere.
#[derive(Debug, Clone)]
pub struct Connection(CancellationToken);

impl Connection {
    /// Closes it at once, in the middle of whatever is being sent.
    pub fn cut(&self) {
        self.0.cancel();
    }

    /// Whether it was.
    pub fn is_cut(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// Stops or begins anew to listen on `listener`. The socket itself stays, so that its port stays the server's; while it
/// does not listen the kernel refuses.
pub fn set_listening(listener: &TcpListener, on: bool) {
    let outcome = if on {
        listen(listener, Backlog::MAXCONN)
    } else {
        shutdown(listener.as_raw_fd(), Shutdown::Read)
    };
    outcome.expect("a listening socket can stop to listen and begin anew");
}

/// Serves what connects to `listener` until the server ends, on `runtime`.
///
/// This thread does nothing else: a socket that stops to listen and begins anew leaves a reactor with stale news of it.
pub fn serve(
    listener: &TcpListener,
    tls: Arc<ServerConfig>,
    shared: &Arc<Shared>,
    runtime: &Handle,
) {
    let acceptor = TlsAcceptor::from(tls);
    let mut link = shared.link.subscribe();
    loop {
        if let Ok((stream, _)) = listener.accept() {
            let connection = Connection(shared.outage().child_token());
            let job = converse(stream, acceptor.clone(), shared.clone(), connection.clone());
            runtime.spawn(while_linked(shared.link.subscribe(), connection, job));
        } else if runtime
            .block_on(link.wait_for(|link| *link != Link::Down))
            .is_ok_and(|link| *link == Link::Ended)
        {
            return;
        }
    }
}

/// Runs a connection as the network allows, until it is cut.
async fn while_linked(
    mut link: watch::Receiver<Link>,
    connection: Connection,
    job: impl Future<Output = ()>,
) {
    let mut job = pin!(job);
    loop {
        let silent = *link.borrow_and_update() == Link::Silent;
        tokio::select! {
            biased;
            () = connection.0.cancelled() => return,
            changed = link.changed() => if changed.is_err() { return },
            () = &mut job, if !silent => return,
        }
    }
}

async fn converse(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    connection: Connection,
) {
    let ready = stream
        .set_nodelay(true)
        .and_then(|()| stream.set_nonblocking(true));
    let Ok(stream) = ready.and_then(|()| tokio::net::TcpStream::from_std(stream)) else {
        return;
    };
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let (shared, connection) = (shared.clone(), connection.clone());
        async move {
            Ok::<_, Infallible>(
                answer(shared, connection, request.map(axum::body::Body::new)).await,
            )
        }
    });
    // A client that goes away in the middle is none of the server's trouble.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
