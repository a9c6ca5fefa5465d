//! Serves HTTP/1 connections of the Unix socket and of the metrics port, one request each.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::Service;

/// The pause after a failed accept. Most likely the process is out of file descriptors, and other
/// connections or plugins must end before the next accept can succeed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves one request on `stream`. A caller that does not send the head of its request within
/// `head_timeout` is disconnected. Errors are only logged: the caller sees the end of the
/// connection.
pub(super) async fn serve_request<T, S>(stream: T, service: S, head_timeout: Duration)
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = std::convert::Infallible>
        + Clone,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        // One request per connection. A connection without a request stays open until the timeout.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Logs a failed accept, and pauses before the next one.
pub(super) async fn pause_after(error: &io::Error, listener: &str) {
    tracing::error!(%error, listener, "cannot accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
