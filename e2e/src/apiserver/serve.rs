//! Connections: TLS, HTTP/1.1, and a network that can fail.

use std::convert::Infallible;
use std::future::Future;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{Backlog, Shutdown, listen, shutdown};
use std::os::fd::AsRawFd as _;
use tokio::net::TcpStream;
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
}

/// One connection, which can be cut from anywhere.
#[derive(Debug, Clone)]
pub struct Connection(CancellationToken);

impl Connection {
    /// Closes it at once, in the middle of whatever is being sent.
    pub fn cut(&self) {
        self.0.cancel();
    }
}

/// Stops or begins anew to listen on `listener`. The socket itself stays, so that its port stays the server's; while it
/// does not listen the kernel refuses.
pub fn set_listening(listener: &TcpListener, on: bool) {
    let outcome = if on { listen(listener, Backlog::MAXCONN) } else { shutdown(listener.as_raw_fd(), Shutdown::Read) };
    outcome.expect("a listening socket can stop to listen and begin anew");
}

/// Serves what connects to `listener` for ever.
pub async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, shared: Arc<Shared>) {
    let acceptor = TlsAcceptor::from(tls);
    let mut link = shared.link.subscribe();
    loop {
        let up = *link.borrow_and_update() == Link::Up;
        tokio::select! {
            changed = link.changed() => if changed.is_err() { return },
            () = accept(&listener, &acceptor, &shared), if up => return,
        }
    }
}

async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor, shared: &Arc<Shared>) {
    let accepting = listener.set_nonblocking(true).and_then(|()| listener.try_clone());
    let Ok(accepting) = accepting.and_then(tokio::net::TcpListener::from_std) else { return };
    loop {
        let Ok((stream, _)) = accepting.accept().await else {
            // A client that is gone before it was accepted, or the server goes away.
            tokio::task::yield_now().await;
            continue;
        };
        let job = converse(stream, acceptor.clone(), shared.clone());
        let link = shared.link.subscribe();
        tokio::spawn(while_linked(link, job));
    }
}

/// Runs a connection as the network allows.
async fn while_linked(mut link: watch::Receiver<Link>, job: impl Future<Output = ()>) {
    let mut job = pin!(job);
    loop {
        let state = *link.borrow_and_update();
        tokio::select! {
            biased;
            changed = link.changed() => if changed.is_err() { return },
            () = &mut job, if state == Link::Up => return,
        }
        if *link.borrow() == Link::Down {
            return;
        }
    }
}

async fn converse(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let connection = Connection(CancellationToken::new());
    let ended = connection.0.clone();
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let (shared, connection) = (shared.clone(), connection.clone());
        async move { Ok::<_, Infallible>(answer(shared, connection, request.map(axum::body::Body::new)).await) }
    });
    let conversation = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        () = ended.cancelled() => {}
        // A client that goes away in the middle is none of the server's trouble.
        _ = conversation => {}
    }
}
