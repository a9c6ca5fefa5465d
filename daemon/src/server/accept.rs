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
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

/// The time limit for a caller to read its response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest buffer of one connection, in bytes. The head of a request must fit into it; a body is
/// received in pieces of this size.
const BUFFER: usize = 16 << 10;

/// The pause after a failed accept. Most likely the process is out of file descriptors, and other
/// connections or plugins must end before the next accept can succeed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves one request on `stream`. A caller that does not send the head of its request within
/// `head_timeout`, or does not read the response in time, is disconnected. Errors are only logged:
/// the caller sees the end of the connection.
pub(super) async fn serve_request<T, S>(stream: T, service: S, head_timeout: Duration)
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = std::convert::Infallible>
        + Clone,
{
    let responded = CancellationToken::new();
    let responding = responded.clone();
    let service = service.map_response(move |response| {
        responding.cancel();
        response
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        // One request per connection. A connection without a request stays open until the timeout.
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let unread = async {
        responded.cancelled().await;
        tokio::time::sleep(RESPONSE_TIMEOUT).await;
    };
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        },
        () = unread => tracing::debug!("a caller did not read its response in time"),
    }
}

/// Logs a failed accept, and pauses before the next one.
pub(super) async fn pause_after(error: &io::Error, listener: &str) {
    tracing::error!(%error, listener, "cannot accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
