//! A client that keeps its connections as long as its credentials are accepted.

use std::fmt;
use std::sync::Arc;

use kube::Client;
use tokio::sync::Mutex;

use super::connection::{Connection, ConnectionError};
use super::trouble::Trouble;

/// Made when it is needed first, and again when its credentials are refused.
pub(super) struct KeptClient {
    connection: Arc<Connection>,
    client: Mutex<Option<Client>>,
}

impl fmt::Debug for KeptClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptClient")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl KeptClient {
    /// For the API server of `connection`.
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            client: Mutex::default(),
        }
    }

    /// What `ask` is answered. Only refused credentials are tried a second time, after they were read again.
    ///
    /// # Errors
    /// There is no client, or `ask` fails.
    pub(super) async fn ask<T, F>(&self, ask: impl Fn(Client) -> F) -> Result<T, Trouble>
    where
        F: Future<Output = kube::Result<T>>,
    {
        match ask(self.client().await?).await {
            Err(kube::Error::Api(refusal)) if refusal.code == 401 => {
                *self.client.lock().await = None;
                Ok(ask(self.client().await?).await?)
            }
            answer => Ok(answer?),
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
