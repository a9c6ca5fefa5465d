//! The HTTP client of the socket, for subcommands.

use std::io;
use std::path::Path;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::http::request::Builder;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// A response, and the process that sent it.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    /// The PID of the process that bound the socket. `None` if that process is in another PID
    /// namespace.
    pub(crate) server_pid: Option<i32>,
}

/// Whether the error of a connection means that no daemon listens.
pub(crate) fn no_daemon(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::ConnectionRefused
    )
}

/// Sends `GET path` to the daemon at `socket`.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] or [`io::ErrorKind::ConnectionRefused`] if no daemon listens.
pub(crate) async fn get(socket: &Path, path: &str) -> io::Result<Response> {
    exchange(socket, Request::get(path), Vec::new()).await
}

/// Sends `POST path` to the daemon at `socket`.
///
/// # Errors
/// See [`get`].
pub(crate) async fn post(socket: &Path, path: &str, body: Vec<u8>) -> io::Result<Response> {
    exchange(
        socket,
        Request::post(path).header(header::CONTENT_TYPE, "application/json"),
        body,
    )
    .await
}

/// Sends `PUT path` to the daemon at `socket`.
///
/// # Errors
/// See [`get`].
pub(crate) async fn put(socket: &Path, path: &str, body: Vec<u8>) -> io::Result<Response> {
    exchange(socket, Request::put(path), body).await
}

async fn exchange(socket: &Path, request: Builder, body: Vec<u8>) -> io::Result<Response> {
    let stream = UnixStream::connect(socket).await?;
    // The kernel reports 0 for a process in another PID namespace.
    let server_pid = stream
        .peer_cred()
        .ok()
        .and_then(|peer| peer.pid())
        .filter(|pid| *pid != 0);
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // The connection ends with the sender.
        tokio::spawn(connection);
        let request = request
            .header(header::HOST, "plexusd")
            .body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Response {
            status,
            body,
            server_pid,
        })
    };
    exchange.await.map_err(io::Error::other)
}
