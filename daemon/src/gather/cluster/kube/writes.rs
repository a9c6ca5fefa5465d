//! What the daemon writes to the API server: one request at a time, tried once, with a time limit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::Request;
use hyper::http::header::{ACCEPT, HeaderValue};
use kube::Client;
use kube::core::Status;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connection::{Connection, ConnectionError};
use super::follow::chain;

/// How long the API server has to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause that the server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The server answers a write with the object; its metadata is the least that it can be asked for.
const LEAST: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json");

/// Writes over connections of its own.
pub struct Writes {
    connection: Arc<Connection>,
    /// Made when it is needed first, and again when its credentials are refused.
    client: Mutex<Option<Client>>,
}

/// Why a write is not done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The server says so.
    #[error("the API server answered {} {}: {}", .0.code, .0.reason, .0.message)]
    Answered(Box<Status>),
    /// There was no answer, or there are no credentials; the text says which.
    #[error("{0}")]
    NoAnswer(String),
}

impl Refusal {
    /// The HTTP status; 0 without an answer.
    pub fn code(&self) -> u16 {
        if let Self::Answered(status) = self { status.code } else { 0 }
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Duration {
        let Self::Answered(status) = self else { return Duration::ZERO };
        let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        Duration::from_secs(u64::from(seconds)).min(LONGEST_PAUSE)
    }
}

impl From<ConnectionError> for Refusal {
    fn from(error: ConnectionError) -> Self {
        Self::NoAnswer(chain(&error))
    }
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Answered(status),
            other => Self::NoAnswer(format!("the API server cannot be asked: {}", chain(&other))),
        }
    }
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
    pub async fn send(&self, mut request: Request<Vec<u8>>) -> Result<(), Refusal> {
        request.headers_mut().insert(ACCEPT, LEAST);
        let sent = async {
            match self.try_send(request.clone()).await {
                Err(refusal) if refusal.code() == 401 => {
                    *self.client.lock().await = None;
                    self.try_send(request).await
                }
                outcome => outcome,
            }
        };
        let late = |_| Refusal::NoAnswer(format!("the API server did not answer within {PATIENCE:?}"));
        timeout(PATIENCE, sent).await.map_err(late)?
    }

    async fn try_send(&self, request: Request<Vec<u8>>) -> Result<(), Refusal> {
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
