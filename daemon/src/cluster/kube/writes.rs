//! What the daemon writes to the API server: one request at a time, tried once, with a time limit.

use std::sync::Arc;
use std::time::Duration;

use hyper::http::Request;
use hyper::http::header::{ACCEPT, HeaderValue};
use tokio::time::timeout;

use super::client::KeptClient;
use super::connection::Connection;
use super::trouble::Trouble;

/// How long the API server has to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The server answers a write with the object; its metadata is the least that it can be asked for.
const LEAST: HeaderValue = HeaderValue::from_static(
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
);

/// Writes over connections of its own.
#[derive(Debug)]
pub(crate) struct Writes(KeptClient);

impl Writes {
    /// Writes to the API server of `connection`.
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self(KeptClient::new(connection))
    }

    /// Sends one request. Only refused credentials are tried a second time, after they were read again.
    ///
    /// # Errors
    /// It is not done, as far as one can tell: without an answer it may be.
    pub(crate) async fn send(&self, mut request: Request<Vec<u8>>) -> Result<(), Trouble> {
        request.headers_mut().insert(ACCEPT, LEAST);
        let sent = self.0.ask(|client| {
            let request = request.clone();
            async move { client.request_text(request).await }
        });
        timeout(PATIENCE, sent)
            .await
            .map_err(|_| Trouble::Silent(PATIENCE))?
            .map(drop)
    }
}
