//! What a decision needs, read once: the pod, its annotations, the definitions, the default network. From memory and
//! the node's disk; from the API server only what did not come by itself (decision 4).

pub(crate) mod default_network;
pub(crate) mod disk;
pub(crate) mod multus;
mod networks;
mod pod;
mod samples;

use std::collections::BTreeSet;

use plexus_api::cni::{CniArgs, CniError, Code, RawMap};
use plexus_api::selection::{self, DEFAULT_NETWORK, NETWORKS, POD_ANNOTATIONS, Selection};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::cluster::Store;
use crate::cluster::kube::Live;
use crate::config::Settings;
use crate::model::{Network, Pod, PodRef};
use crate::plan::{PlanInput, Policy, Selected, ifname};
use default_network::DefaultNetwork;

pub(crate) use networks::default_networks;

/// What a runtime says about the sandbox in its call.
#[derive(Debug, Clone)]
pub(crate) struct PodRequest {
    /// `CNI_IFNAME`.
    pub(crate) ifname: String,
    /// `CNI_ARGS`.
    pub(crate) cni_args: CniArgs,
    /// `runtimeConfig` of its configuration.
    pub(crate) runtime_config: RawMap,
    /// The pod, by `CNI_ARGS`.
    pub(crate) pod: PodRef,
}

impl PodRequest {
    /// Whether the runtime passed the pod's annotations with the call.
    pub(crate) fn has_annotations(&self) -> bool {
        self.runtime_config.contains_key(POD_ANNOTATIONS)
    }

    /// The same for a pod of which no annotation is known or to be trusted.
    #[must_use]
    pub(crate) fn without_annotations(mut self) -> Self {
        self.runtime_config
            .insert(POD_ANNOTATIONS.to_owned(), RawValue::NULL.to_owned());
        self
    }
}

/// Until when something that is not known yet is waited for.
#[derive(Debug, Clone, Copy)]
struct Deadlines {
    /// That it comes by itself.
    watch: Instant,
    /// The call's end.
    call: Instant,
}

impl Deadlines {
    /// Not at all.
    fn now() -> Self {
        let now = Instant::now();
        Self {
            watch: now,
            call: now,
        }
    }
}

/// Reads all that planning needs; `links` are the names of the sandbox's links. Without `live` the API server is not
/// asked for what the store does not have.
///
/// # Errors
/// [`Code::TryAgain`] while the pod is not known or the API server does not answer, [`Code::UnknownNetwork`] for a
/// definition that does not exist, [`Code::InvalidAnnotation`] for an annotation that cannot be read.
pub(crate) async fn snapshot(
    store: &Store,
    live: Option<&Live>,
    default_network: &DefaultNetwork,
    settings: &Settings,
    asked: &PodRequest,
    links: BTreeSet<String>,
    deadline: Instant,
) -> Result<PlanInput, CniError> {
    let deadlines = Deadlines {
        watch: deadline.min(Instant::now() + settings.lookup_wait),
        call: deadline,
    };
    let pod = pod::find(store, live, asked, deadlines).await?;
    let default_selection = default_selection(&pod, settings)?;
    let elements = elements(&pod, NETWORKS, &pod.namespace)?;
    let lookup = networks::Lookup {
        store,
        live,
        default_network: Some(default_network),
        settings,
        deadlines,
    };
    let (default, literal) = match &default_selection {
        Some(selection) => (lookup.selected(selection, &asked.ifname).await?, Vec::new()),
        None => lookup.default_networks().await?,
    };
    let mut everywhere: Vec<Network> = literal;
    if !settings.system_namespaces.contains(&pod.namespace) {
        everywhere.extend(lookup.everywhere().await?);
    }
    let mut selected = Vec::new();
    for selection in elements {
        let position = 1 + everywhere.len() + selected.len();
        let network = lookup
            .selected(&selection, &ifname(Some(&selection), position))
            .await?;
        selected.push(Selected { selection, network });
    }
    Ok(PlanInput {
        ifname: asked.ifname.clone(),
        links,
        pod: pod_ref(&pod, &asked.pod),
        cni_args: asked.cni_args.clone(),
        runtime_config: asked.runtime_config.clone(),
        default,
        default_selection,
        everywhere,
        selected,
        policy: policy(settings),
    })
}

/// The pod as the record of its sandbox names it: as the runtime does, with what only the pod itself can tell.
fn pod_ref(pod: &Pod, asked: &PodRef) -> PodRef {
    let uid = if asked.uid.is_empty() {
        &pod.uid
    } else {
        &asked.uid
    };
    PodRef {
        uid: uid.clone(),
        is_static: pod.is_static(),
        ..asked.clone()
    }
}

fn policy(settings: &Settings) -> Policy {
    Policy {
        strict: settings.strict,
        namespace_isolation: settings.namespace_isolation,
        global_namespaces: settings.global_namespaces.clone(),
        default_network_namespaces: settings.default_network_namespaces.clone(),
        allowed_plugin_types: settings.allowed_plugin_types.clone(),
    }
}

/// The element that replaces the default network: exactly one, of the daemon's own namespace where it names none
/// (K-062).
fn default_selection(pod: &Pod, settings: &Settings) -> Result<Option<Selection>, CniError> {
    if !pod.annotations.contains_key(DEFAULT_NETWORK) {
        return Ok(None);
    }
    let mut elements = elements(pod, DEFAULT_NETWORK, &settings.multus_namespace)?;
    match (elements.pop(), elements.is_empty()) {
        (Some(selection), true) => Ok(Some(selection)),
        (last, _) => {
            let count = elements.len() + usize::from(last.is_some());
            let msg = format!(
                "annotation {DEFAULT_NETWORK:?} must name exactly one network, but names {count}"
            );
            Err(CniError::new(Code::InvalidAnnotation, msg))
        }
    }
}

fn elements(pod: &Pod, annotation: &str, namespace: &str) -> Result<Vec<Selection>, CniError> {
    let text = pod
        .annotations
        .get(annotation)
        .map(String::as_str)
        .unwrap_or_default();
    selection::parse(text, namespace).map_err(|error| {
        CniError::new(
            Code::InvalidAnnotation,
            format!("annotation {annotation:?}: {error}"),
        )
    })
}
