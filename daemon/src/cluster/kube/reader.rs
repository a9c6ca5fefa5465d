//! Single reads from the API server, for objects that the watches have not delivered (decision 4).

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1;
use kube::{Api, Client, Resource};
use plexus_api::status::NETWORK_STATUS;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::client::CachedClient;
use super::connection::Connection;
use super::dra::{Claim, ClaimObject, PodClaims};
use super::error::ApiError;
use super::resources::{ApiObject, WatchedKind};
use crate::cluster::definition::Definition;
use crate::model::Pod;

/// The time limit for the answer to one request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Reads objects over its own connections.
#[derive(Debug)]
pub(crate) struct ApiReader(CachedClient);

impl ApiReader {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self(CachedClient::new(connection))
    }

    /// Returns `None` if there is no such pod.
    pub(crate) async fn pod(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<Pod>, ApiError> {
        self.get_kind(namespace, name, deadline).await
    }

    /// Returns `None` if there is no such definition.
    pub(crate) async fn definition(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<Definition>, ApiError> {
        self.get_kind(namespace, name, deadline).await
    }

    /// Returns `None` if there is no such pod.
    pub(crate) async fn pod_summary(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<PodSummary>, ApiError> {
        let pod = self
            .get(in_namespace::<v1::Pod>(namespace), name, ANSWER_TIMEOUT)
            .await?;
        Ok(pod.map(PodSummary::from))
    }

    /// The claims of a pod. Returns `None` if there is no such pod.
    pub(crate) async fn pod_claims(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<PodClaims>, ApiError> {
        let pod = self
            .get_object::<v1::Pod>(namespace, name, deadline)
            .await?;
        Ok(pod.map(PodClaims::from))
    }

    /// Returns `None` if there is no such claim.
    pub(crate) async fn claim(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<Claim>, ApiError> {
        let claim = self.get_object(namespace, name, deadline).await?;
        Ok(claim.map(ClaimObject::into_claim))
    }

    /// The keys of a node's taints, in order. Returns `None` if there is no such node.
    pub(crate) async fn taints(&self, node: &str) -> Result<Option<Vec<String>>, ApiError> {
        if !is_object_name(node) {
            return Ok(None);
        }
        let node = self.get::<v1::Node>(Api::all, node, ANSWER_TIMEOUT).await?;
        let taints = |node: v1::Node| node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        Ok(node.map(|node| taints(node).into_iter().map(|taint| taint.key).collect()))
    }

    async fn get_kind<T>(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<T>, ApiError>
    where
        T: WatchedKind,
        T::Api: Resource<Scope = NamespaceResourceScope>,
    {
        let object = self.get_object(namespace, name, deadline).await?;
        object
            .map(T::from_api)
            .transpose()
            .map_err(ApiError::InvalidObject)
    }

    async fn get_object<K>(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<K>, ApiError>
    where
        K: ApiObject + Resource<Scope = NamespaceResourceScope>,
    {
        // No object has another name, and the text becomes part of a URL.
        if !is_object_name(namespace) || !is_object_name(name) {
            return Ok(None);
        }
        let limit = ANSWER_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        self.get(in_namespace(namespace), name, limit).await
    }

    async fn get<K: Clone + Debug + DeserializeOwned>(
        &self,
        api: impl Fn(Client) -> Api<K>,
        name: &str,
        limit: Duration,
    ) -> Result<Option<K>, ApiError> {
        let request = self
            .0
            .request(|client| async { api(client).get(name).await });
        match timeout(limit, request).await {
            Err(_) => Err(ApiError::Timeout(limit)),
            // The server also answers 404 if it does not have the kind.
            Ok(Err(error)) if error.code() == 404 => Ok(None),
            Ok(answer) => answer.map(Some),
        }
    }
}

fn in_namespace<K>(namespace: &str) -> impl Fn(Client) -> Api<K>
where
    K: ApiObject + Resource<Scope = NamespaceResourceScope>,
{
    move |client| Api::namespaced(client, namespace)
}

/// The fields of a pod that show where it runs, and whether it has its networks.
#[derive(Debug, Clone)]
pub(crate) struct PodSummary {
    pub(crate) uid: String,
    pub(crate) host_network: bool,
    /// The node that the pod is assigned to.
    pub(crate) node: Option<String>,
    /// The annotation network-status.
    pub(crate) network_status: Option<String>,
    /// Whether the pod's phase is `Running`, and the pod is not being deleted.
    pub(crate) is_running: bool,
    /// Whether the pod's phase is `Succeeded` or `Failed`: it does not start again.
    pub(crate) has_ended: bool,
}

impl From<v1::Pod> for PodSummary {
    fn from(
        v1::Pod {
            metadata,
            spec,
            status,
        }: v1::Pod,
    ) -> Self {
        let mut annotations = metadata.annotations.unwrap_or_default();
        let spec = spec.unwrap_or_default();
        let phase = status.and_then(|status| status.phase);
        let phase = phase.as_deref().unwrap_or_default();
        Self {
            uid: metadata.uid.unwrap_or_default(),
            host_network: spec.host_network.unwrap_or_default(),
            node: spec.node_name,
            network_status: annotations.remove(NETWORK_STATUS),
            is_running: phase == "Running" && metadata.deletion_timestamp.is_none(),
            has_ended: ["Succeeded", "Failed"].contains(&phase),
        }
    }
}

/// Whether `text` can be an object's name, which is a DNS subdomain.
pub(crate) fn is_object_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && !text.starts_with('.')
}
