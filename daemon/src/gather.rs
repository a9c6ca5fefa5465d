//! Gathers the input of a plan, once per call: the pod with its annotations, the definitions and
//! the default network. They come from memory and from the node's disk. Only objects that the
//! watches have not delivered are read from the API server (decision 4).

mod additions;
mod auxiliary_chain;
pub(crate) mod default_network;
mod delegated;
mod devices;
mod disk;
mod error;
mod known;
pub(crate) mod multus;
mod network_names;
mod networks;
mod offline;
mod pod;
mod request;
mod requested;
pub(crate) mod samples;

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_api::selection::{self, DEFAULT_NETWORK, NETWORKS, Selection};
use tokio::time::Instant;

use crate::call_limits::CallLimits;
use crate::cluster::kube::ApiReader;
use crate::cluster::{Definition, Store};
use crate::config::Settings;
use crate::host::Host;
use crate::memory_budget::{MemoryBudget, Reservation};
use crate::model::{Network, Pod, PodRef, meta_plugin_type};
use crate::plan::{PlanInput, Policy, SelectedNetwork, ifname};
pub(crate) use additions::Additions;
use default_network::DefaultNetwork;
pub(crate) use delegated::DelegatedNetwork;
pub(crate) use devices::{
    Kubelet, is_reachable as kubelet_is_reachable, kubelet_socket, kubelet_socket_exists,
};
pub(crate) use disk::DiskError;
pub(crate) use error::GatherError;
pub(crate) use known::{KnownNetworks, current_definition, known_networks};
use networks::Lookup;
pub(crate) use networks::{check_delegate, check_resource_name};
pub(crate) use offline::Offline;
use request::LookupDeadlines;
pub(crate) use request::PodRequest;
use requested::Requested;

/// Where the input of a plan comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) store: &'a Store,
    /// Without an API server, only objects in the store are used.
    pub(crate) api: Option<&'a ApiReader>,
    pub(crate) default_network: &'a DefaultNetwork,
    pub(crate) memory: &'a MemoryBudget,
    pub(crate) kubelet: &'a Kubelet,
    /// Where the paths of the node are resolved.
    pub(crate) host: &'a Host,
}

/// Gathers the input of a plan. `links` are the names of the links in the sandbox. The plan and its
/// input must be dropped before the reservation, which is for their memory.
pub(crate) async fn plan_input(
    sources: Sources<'_>,
    settings: &Settings,
    request: PodRequest,
    links: BTreeSet<String>,
    limits: &CallLimits,
) -> Result<(PlanInput, Reservation), GatherError> {
    let Sources {
        store,
        api,
        default_network,
        memory,
        ..
    } = sources;
    let lookup = Lookup {
        store,
        api,
        settings,
        deadlines: LookupDeadlines {
            watch: limits.deadline.min(Instant::now() + settings.lookup_wait),
            read: limits.deadline,
        },
    };
    default_network.check_ready()?;
    let pod = pod::find(store, api, &request, lookup.deadlines).await?;
    let default_selection = default_selection(&pod, settings)?;
    let selections = selections(&pod, NETWORKS, &pod.namespace)?;
    let node_default = match default_selection {
        Some(_) => None,
        None => Some(node_default_network(default_network, &lookup).await?),
    };
    let is_system = settings.system_namespaces.contains(&pod.namespace);
    let common = common_networks(default_network, &lookup, is_system).await;
    let common = common.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut requested = Requested::default();
    if let Some(selection) = &default_selection {
        let found = requested
            .find(&lookup, selection, Some(&request.ifname))
            .await;
        found.map_err(|error| explain_namespace(error, &pod, settings))?;
    }
    for (index, selection) in selections.iter().enumerate() {
        let ifname = ifname(Some(selection), 1 + common.len() + index);
        requested.find(&lookup, selection, Some(&ifname)).await?;
    }
    let reservation = requested.reserve(memory, 0, limits).await?;
    let networks = requested.networks(&lookup).await.into_iter();
    let mut networks = networks.collect::<Result<Vec<_>, _>>()?.into_iter();
    let default_network = match node_default {
        Some(network) => network,
        None => networks.next().ok_or(GatherError::NoDefinition)?,
    };
    let auxiliary_chain = auxiliary_chain::read(settings, default_network.config.cni_version).await;
    let selected: Vec<_> = selections
        .into_iter()
        .zip(networks)
        .map(|(selection, network)| SelectedNetwork { selection, network })
        .collect();
    let pod_ref = pod_ref(&pod, &request.pod);
    let with_resource = std::iter::once(&default_network)
        .chain(&common)
        .chain(selected.iter().map(|selected| &selected.network));
    let mut needed = devices::Needed::new();
    for resource in with_resource.filter_map(|network| network.resource_name.clone()) {
        *needed.entry(resource).or_default() += 1;
    }
    let devices = devices::of_pod(sources, settings, &pod_ref, needed, limits.deadline).await?;
    let mut input = PlanInput {
        links,
        pod: pod_ref,
        ifname: request.ifname,
        container_id: request.container_id,
        cni_args: request.cni_args,
        runtime_config: request.runtime_config,
        default_network,
        default_selection,
        common_networks: common,
        selected,
        auxiliary_chain,
        devices,
        policy: policy(settings),
        network_names: None,
    };
    if settings.namespace_isolation {
        input.network_names = Some(network_names::collect(&input, sources, &lookup).await?);
    }
    Ok((input, reservation))
}

/// The network of a definition, whose configuration may be on the node's disk.
pub(crate) async fn network_of_definition(
    definition: &Arc<Definition>,
    settings: &Settings,
    store: &Store,
) -> Result<Network, GatherError> {
    let lookup = Lookup::without_waiting(store, settings);
    let network = lookup.by_definition(definition).await?;
    match meta_plugin_type(&network.config) {
        None => Ok(network),
        Some(kind) => Err(GatherError::MetaPlugin {
            network: network.name,
            kind,
        }),
    }
}

/// The networks of every pod outside the system namespaces, the default network first. Neither
/// waits nor reads from the API server.
pub(crate) async fn default_networks(
    store: &Store,
    default_network: &DefaultNetwork,
    settings: &Settings,
) -> Result<Vec<Network>, GatherError> {
    default_network.check_ready()?;
    let lookup = Lookup::without_waiting(store, settings);
    let default = node_default_network(default_network, &lookup).await?;
    let common = common_networks(default_network, &lookup, false).await;
    let common = common.into_iter().collect::<Result<Vec<_>, _>>()?;
    let auxiliary_chain = auxiliary_chain::read(settings, default.config.cni_version).await;
    let auxiliary_chain = Vec::from_iter(auxiliary_chain);
    Ok([vec![default], common, auxiliary_chain].concat())
}

/// The node's default network, from the watcher or by a look-up.
async fn node_default_network(
    default_network: &DefaultNetwork,
    lookup: &Lookup<'_>,
) -> Result<Network, GatherError> {
    match default_network.for_call()? {
        Some(network) => Ok(network),
        None => lookup.default_network().await,
    }
}

/// The networks that a pod gets beside its default network without selecting them, in order. One
/// that is missing or invalid does not affect the others.
async fn common_networks(
    default_network: &DefaultNetwork,
    lookup: &Lookup<'_>,
    in_system_namespace: bool,
) -> Vec<Result<Network, GatherError>> {
    // A default network from a file comes without `delegates`.
    let mut networks = match default_network.for_call() {
        Ok(None) => lookup.further_delegates(),
        Ok(Some(_)) | Err(_) => Vec::new(),
    };
    if !in_system_namespace {
        networks.extend(lookup.common_networks().await);
    }
    networks
}

/// The pod reference for the record: the runtime's, with the UID and kind of the pod that was found.
fn pod_ref(pod: &Pod, requested: &PodRef) -> PodRef {
    let uid = if requested.uid.is_empty() {
        &pod.uid
    } else {
        &requested.uid
    };
    PodRef {
        uid: uid.clone(),
        is_static: pod.is_static(),
        ..requested.clone()
    }
}

fn policy(settings: &Settings) -> Policy {
    Policy {
        strict: settings.strict,
        namespace_isolation: settings.namespace_isolation,
        global_namespaces: settings.global_namespaces.clone(),
        default_network_namespaces: settings.default_network_namespaces.clone(),
        port_mapping_namespaces: settings.port_mapping_namespaces.clone(),
        allowed_plugin_types: settings.allowed_plugin_types.clone(),
    }
}

/// The element that replaces the default network. There must be exactly one. Its default namespace
/// is `multusNamespace` (K-062).
fn default_selection(pod: &Pod, settings: &Settings) -> Result<Option<Selection>, GatherError> {
    if !pod.annotations.contains_key(DEFAULT_NETWORK) {
        return Ok(None);
    }
    let selections = selections(pod, DEFAULT_NETWORK, &settings.multus_namespace)?;
    let [selection] = <[Selection; 1]>::try_from(selections)
        .map_err(|selections| GatherError::DefaultNetworkCount(selections.len()))?;
    Ok(Some(selection))
}

/// Says where the default network was looked up, if the annotation leaves that to the settings.
fn explain_namespace(error: GatherError, pod: &Pod, settings: &Settings) -> GatherError {
    let has_namespace = selections(pod, DEFAULT_NETWORK, "")
        .is_ok_and(|selections| selections.iter().all(|one| !one.namespace.is_empty()));
    if has_namespace || !error.is_missing() {
        return error;
    }
    GatherError::DefaultNetworkNamespace {
        namespace: settings.multus_namespace.clone(),
        source: Box::new(error),
    }
}

fn selections(
    pod: &Pod,
    annotation: &'static str,
    default_namespace: &str,
) -> Result<Vec<Selection>, GatherError> {
    let text = pod
        .annotations
        .get(annotation)
        .map(String::as_str)
        .unwrap_or_default();
    selection::parse_annotation(annotation, text, default_namespace)
        .map_err(|source| GatherError::Annotation { annotation, source })
}

#[cfg(test)]
mod test_helpers;
#[cfg(test)]
mod tests;
