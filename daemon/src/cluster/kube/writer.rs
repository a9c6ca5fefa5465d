//! Writes to the API server: each request is sent once, with a time limit.

use std::sync::Arc;
use std::time::Duration;

use hyper::http::Request;
use hyper::http::header::{ACCEPT, HeaderValue};
use tokio::time::timeout;

use super::client::CachedClient;
use super::connection::Connection;
use super::error::ApiError;

/// The time limit for the answer to one request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The server answers a write with the object. Metadata is the smallest form it can send.
const METADATA_ONLY: HeaderValue = HeaderValue::from_static(
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
);

/// Sends writes over its own connections.
#[derive(Debug)]
pub(crate) struct ApiWriter(CachedClient);

impl ApiWriter {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self(CachedClient::new(connection))
    }

    /// Sends one request. If its credentials are refused, reads them again and retries once.
    ///
    /// # Errors
    /// The request failed. After a timeout, the write may still have been done.
    pub(crate) async fn send(&self, mut request: Request<Vec<u8>>) -> Result<(), ApiError> {
        request.headers_mut().insert(ACCEPT, METADATA_ONLY);
        let sent = self.0.request(|client| {
            let request = request.clone();
            async move { client.request_text(request).await }
        });
        timeout(ANSWER_TIMEOUT, sent)
            .await
            .map_err(|_| ApiError::Timeout(ANSWER_TIMEOUT))?
            .map(drop)
    }
}
