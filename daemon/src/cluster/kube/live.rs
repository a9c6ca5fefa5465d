//! One look at the API server itself, for what a call needs and the watches have not brought (decision 4).

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1;
use kube::{Api, Client};
use plexus_api::cni::{CniError, Code};
use plexus_api::status::NETWORK_STATUS;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::super::store::Definition;
use super::client::KeptClient;
use super::connection::Connection;
use super::kinds::{Kind, Wire};
use super::trouble::Trouble;
use crate::model::Pod;

/// How long the API server has to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the API server.
#[derive(Debug)]
pub(crate) struct Live(KeptClient);

impl Live {
    /// Asks the API server of `connection`.
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self(KeptClient::new(connection))
    }

    /// The pod, or none if there is none.
    ///
    /// # Errors
    /// [`Code::TryAgain`] without an answer.
    pub(crate) async fn pod(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<Pod>, CniError> {
        self.get(namespace, name, deadline).await
    }

    /// The definition, or none if there is none.
    ///
    /// # Errors
    /// [`Code::TryAgain`] without an answer, [`Code::InvalidConfig`] for a definition that cannot be read.
    pub(crate) async fn definition(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<Definition>, CniError> {
        self.get(namespace, name, deadline).await
    }

    /// The whole pod, as far as it tells whether it runs without its networks, or none if there is none.
    ///
    /// # Errors
    /// [`Code::TryAgain`] without an answer.
    pub(crate) async fn running(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Running>, CniError> {
        let asked = timeout_at(
            Instant::now() + PATIENCE,
            self.try_get::<v1::Pod>(of(namespace), name),
        )
        .await;
        let no_answer = |why: &str| {
            CniError::new(
                Code::TryAgain,
                format!("the API server was asked for pod {namespace}/{name}: {why}"),
            )
        };
        let pod = match asked {
            Err(_) => return Err(no_answer("it did not answer in time")),
            Ok(answer) => answer.map_err(|trouble| no_answer(&trouble.text()))?,
        };
        Ok(pod.map(Running::from))
    }

    /// The keys of a node's taints in their order, or none if there is no such node.
    ///
    /// # Errors
    /// Without an answer, or with a refusal.
    pub(crate) async fn taints(&self, node: &str) -> Result<Option<Vec<String>>, Trouble> {
        if !is_name(node) {
            return Ok(None);
        }
        let asked = timeout_at(
            Instant::now() + PATIENCE,
            self.try_get::<v1::Node>(Api::all, node),
        )
        .await;
        let node = asked.map_err(|_| Trouble::Silent(PATIENCE))??;
        let taints = |node: v1::Node| node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        Ok(node.map(|node| taints(node).into_iter().map(|taint| taint.key).collect()))
    }

    async fn get<T: Kind>(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<T>, CniError> {
        if ![namespace, name].into_iter().all(is_name) {
            // No object is called so, and the text would be part of a path.
            return Ok(None);
        }
        let patience = deadline.min(Instant::now() + PATIENCE);
        let no_answer = |why: &str| {
            let msg = format!(
                "the API server was asked for {} {namespace}/{name}: {why}",
                T::NAME
            );
            CniError::new(Code::TryAgain, msg)
        };
        match timeout_at(patience, self.try_get::<T::Wire>(of(namespace), name)).await {
            Err(_) => Err(no_answer("it did not answer in time")),
            Ok(Err(trouble)) => Err(no_answer(&trouble.text())),
            Ok(Ok(None)) => Ok(None),
            Ok(Ok(Some(object))) => T::trim(object).map(Some).map_err(|why| {
                let msg = format!("{} {namespace}/{name} cannot be read: {why}", T::NAME);
                CniError::new(Code::InvalidConfig, msg)
            }),
        }
    }

    async fn try_get<W: Object>(
        &self,
        api: impl Fn(Client) -> Api<W>,
        name: &str,
    ) -> Result<Option<W>, Trouble> {
        match self
            .0
            .ask(|client| async { api(client).get(name).await })
            .await
        {
            // Also where the server does not have the kind.
            Err(trouble) if trouble.code() == 404 => Ok(None),
            answer => answer.map(Some),
        }
    }
}

/// The objects of a namespace.
fn of<W: Wire>(namespace: &str) -> impl Fn(Client) -> Api<W> {
    move |client| Api::namespaced(client, namespace)
}

/// What the API server may be asked for.
trait Object: Clone + Debug + DeserializeOwned {}
impl<T: Clone + Debug + DeserializeOwned> Object for T {}

/// What tells whether a pod runs without its networks.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// Its UID.
    pub(crate) uid: String,
    /// Whether it is in the network of its node.
    pub(crate) host_network: bool,
    /// Whether network-status was written for it.
    pub(crate) has_status: bool,
    /// Whether its containers have been started, and neither have all ended for good nor are to be deleted.
    pub(crate) runs: bool,
}

impl From<v1::Pod> for Running {
    fn from(
        v1::Pod {
            metadata,
            spec,
            status,
        }: v1::Pod,
    ) -> Self {
        let annotations = metadata.annotations.unwrap_or_default();
        Self {
            uid: metadata.uid.unwrap_or_default(),
            host_network: spec.and_then(|spec| spec.host_network).unwrap_or_default(),
            has_status: annotations.contains_key(NETWORK_STATUS),
            runs: status
                .and_then(|status| status.phase)
                .is_some_and(|phase| phase == "Running")
                && metadata.deletion_timestamp.is_none(),
        }
    }
}

/// Whether an object can be called so: names of objects are DNS subdomains.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && !text.starts_with('.')
}
