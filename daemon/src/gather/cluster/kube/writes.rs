//! What the daemon writes to the API server: one request at a time, tried once, with a time limit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::Request;
use hyper::http::header::{ACCEPT, HeaderValue};
use kube::Client;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connection::Connection;
use super::trouble::Trouble;

/// How long the API server has to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The server answers a write with the object; its metadata is the least that it can be asked for.
const LEAST: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json");

/// Writes over connections of its own.
pub struct Writes {
    connection: Arc<Connection>,
    /// Made when it is needed first, and again when its credentials are refused.
    client: Mutex<Option<Client>>,
}

impl fmt::Debug for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writes").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Writes {
    /// Writes to the API server of `connection`.
    pub fn new(connection: Arc<Connection>) -> Self {
        Self { connection, client: Mutex::default() }
    }

    /// Sends one request. Only refused credentials are tried a second time, after they were read again.
    ///
    /// # Errors
    /// It is not done, as far as one can tell: without an answer it may be.
    pub async fn send(&self, mut request: Request<Vec<u8>>) -> Result<(), Trouble> {
        request.headers_mut().insert(ACCEPT, LEAST);
        let sent = async {
            match self.try_send(request.clone()).await {
                Err(trouble) if trouble.code() == 401 => {
                    *self.client.lock().await = None;
                    self.try_send(request).await
                }
                outcome => outcome,
            }
        };
        timeout(PATIENCE, sent).await.map_err(|_| Trouble::Silent(PATIENCE))?
    }

    async fn try_send(&self, request: Request<Vec<u8>>) -> Result<(), Trouble> {
        let client = {
            let mut client = self.client.lock().await;
            match &*client {
                Some(client) => client.clone(),
                None => client.insert(self.connection.client().await?).clone(),
            }
        };
        client.request_text(request).await?;
        Ok(())
    }
}
