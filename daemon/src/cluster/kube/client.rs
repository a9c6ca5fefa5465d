//! A client that is reused for as long as the API server accepts its credentials.

use std::fmt;
use std::sync::Arc;

use kube::Client;
use tokio::sync::Mutex;

use super::connection::{Connection, ConnectionError};
use super::error::ApiError;

/// A client that is created at the first request, and again after its credentials were refused.
pub(super) struct CachedClient {
    connection: Arc<Connection>,
    client: Mutex<Option<Client>>,
}

impl fmt::Debug for CachedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedClient")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl CachedClient {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            client: Mutex::default(),
        }
    }

    /// Sends a request. If its credentials are refused, reads them again and retries once.
    pub(super) async fn request<T, F>(&self, send: impl Fn(Client) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = kube::Result<T>>,
    {
        match send(self.client().await?).await {
            Err(kube::Error::Api(refusal)) if refusal.code == 401 => {
                *self.client.lock().await = None;
                Ok(send(self.client().await?).await?)
            }
            response => Ok(response?),
        }
    }

    async fn client(&self) -> Result<Client, ConnectionError> {
        let mut client = self.client.lock().await;
        Ok(match &*client {
            Some(client) => client.clone(),
            None => client.insert(self.connection.client().await?).clone(),
        })
    }
}
