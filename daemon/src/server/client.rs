//! The other end of the socket, for the command line.

use std::io;
use std::path::Path;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::http::request::Builder;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// `GET path` from the daemon at `socket`; its answer.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] and [`io::ErrorKind::ConnectionRefused`] where no daemon is there.
pub async fn get(socket: &Path, path: &str) -> io::Result<(StatusCode, Bytes)> {
    exchange(socket, Request::get(path), Vec::new()).await
}

/// `POST path` to the daemon at `socket`; its answer.
///
/// # Errors
/// Those of [`get`].
pub async fn post(socket: &Path, path: &str, body: Vec<u8>) -> io::Result<(StatusCode, Bytes)> {
    exchange(socket, Request::post(path).header(header::CONTENT_TYPE, "application/json"), body).await
}

async fn exchange(socket: &Path, request: Builder, body: Vec<u8>) -> io::Result<(StatusCode, Bytes)> {
    let stream = UnixStream::connect(socket).await?;
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender.
        tokio::spawn(connection);
        let request = request.header(header::HOST, "plexusd").body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, response.into_body().collect().await?.to_bytes()))
    };
    exchange.await.map_err(io::Error::other)
}
