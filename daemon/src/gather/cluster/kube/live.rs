//! One look at the API server itself, for what a call needs and the watches have not brought (decision 4).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Client};
use plexus_api::cni::{CniError, Code};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::super::store::Definition;
use super::connection::Connection;
use super::kinds::Kind;
use super::trouble::Trouble;
use crate::plan::Pod;

/// How long the API server has to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the API server.
pub struct Live {
    connection: Arc<Connection>,
    /// Made when it is needed first, and again when its credentials are refused.
    client: Mutex<Option<Client>>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Live {
    /// Asks the API server of `connection`.
    pub fn new(connection: Arc<Connection>) -> Self {
        Self { connection, client: Mutex::default() }
    }

    /// The pod, or none if there is none.
    ///
    /// # Errors
    /// [`Code::TryAgain`] without an answer.
    pub async fn pod(&self, namespace: &str, name: &str, deadline: Instant) -> Result<Option<Pod>, CniError> {
        self.get(namespace, name, deadline).await
    }

    /// The definition, or none if there is none.
    ///
    /// # Errors
    /// [`Code::TryAgain`] without an answer, [`Code::InvalidConfig`] for a definition that cannot be read.
    pub async fn definition(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<Definition>, CniError> {
        self.get(namespace, name, deadline).await
    }

    async fn get<T: Kind>(&self, namespace: &str, name: &str, deadline: Instant) -> Result<Option<T>, CniError> {
        if ![namespace, name].into_iter().all(is_name) {
            // No object is called so, and the text would be part of a path.
            return Ok(None);
        }
        let patience = deadline.min(Instant::now() + PATIENCE);
        let no_answer = |why: &str| {
            let msg = format!("the API server was asked for {} {namespace}/{name}: {why}", T::NAME);
            CniError::new(Code::TryAgain, msg)
        };
        match timeout_at(patience, self.try_get::<T>(namespace, name)).await {
            Err(_) => Err(no_answer("it did not answer in time")),
            Ok(Err(trouble)) => Err(no_answer(&trouble.text())),
            Ok(Ok(None)) => Ok(None),
            Ok(Ok(Some(object))) => T::trim(object).map(Some).map_err(|why| {
                let msg = format!("{} {namespace}/{name} cannot be read: {why}", T::NAME);
                CniError::new(Code::InvalidConfig, msg)
            }),
        }
    }

    async fn try_get<T: Kind>(&self, namespace: &str, name: &str) -> Result<Option<T::Wire>, Trouble> {
        let mut answer = self.ask::<T>(namespace, name).await;
        if answer.as_ref().is_err_and(|trouble| trouble.code() == 401) {
            *self.client.lock().await = None;
            answer = self.ask::<T>(namespace, name).await;
        }
        match answer {
            // Also where the server does not have the kind.
            Err(trouble) if trouble.code() == 404 => Ok(None),
            answer => answer.map(Some),
        }
    }

    async fn ask<T: Kind>(&self, namespace: &str, name: &str) -> Result<T::Wire, Trouble> {
        let client = {
            let mut client = self.client.lock().await;
            match &*client {
                Some(client) => client.clone(),
                None => client.insert(self.connection.client().await?).clone(),
            }
        };
        Ok(Api::<T::Wire>::namespaced(client, namespace).get(name).await?)
    }
}

/// Whether an object can be called so: names of objects are DNS subdomains.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && !text.starts_with('.')
}
