//! The other end of the socket, for the command line.

use std::io;
use std::path::Path;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// `POST path` to the daemon at `socket`; its answer.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] and [`io::ErrorKind::ConnectionRefused`] where no daemon is there.
pub async fn post(socket: &Path, path: &str, body: Vec<u8>) -> io::Result<(StatusCode, Bytes)> {
    let stream = UnixStream::connect(socket).await?;
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender.
        tokio::spawn(connection);
        let request = Request::post(path)
            .header(header::HOST, "plexusd")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(io::Error::other);
        let response = sender.send_request(request?).await?;
        let status = response.status();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, response.into_body().collect().await?.to_bytes()))
    };
    exchange.await.map_err(io::Error::other)
}
