//! Gathers the networks of a pod for a DEL without a record: each network on its own, so that one
//! that is missing or invalid does not affect the others (decision 26).

use std::collections::BTreeSet;

use plexus_api::cni::{CniArgs, Version};
use plexus_api::json::RawMap;
use plexus_api::selection::{NETWORKS, Selection};

use super::error::GatherError;
use super::networks::Lookup;
use super::request::{LookupDeadlines, PodRequest};
use super::requested::Requested;
use super::{
    Sources, auxiliary_chain, common_networks, default_selection, node_default_network, pod,
    pod_ref, policy, selections,
};
use crate::call_limits::CallLimits;
use crate::cluster::Store;
use crate::config::Settings;
use crate::memory_budget::Reservation;
use crate::model::{Attachment, Devices, Network, Pod, PodRef};
use crate::plan::{PlanInput, auxiliary_ifname, ifname};

/// The networks of a pod, as far as they are known. Each has an input of its own, in which it is
/// the default network and the only one.
#[derive(Debug, Default)]
pub(crate) struct KnownNetworks {
    /// The possible default networks, the most probable one first.
    pub(crate) default: Vec<PlanInput>,
    pub(crate) others: Vec<PlanInput>,
    pub(crate) auxiliary_chain: Option<PlanInput>,
    /// Why other networks are not known.
    pub(crate) errors: Vec<GatherError>,
    /// The memory of the networks.
    pub(crate) reservation: Reservation,
}

/// An element of an annotation whose definition is known.
struct Found {
    selection: Selection,
    /// The position among all networks; 0 for the default network.
    position: usize,
}

/// Gathers the networks of a pod from memory and from the node's disk. Waits only for memory.
pub(crate) async fn known_networks(
    sources: Sources<'_>,
    settings: &Settings,
    request: &PodRequest,
    limits: &CallLimits,
) -> KnownNetworks {
    let mut known = KnownNetworks::default();
    let lookup = Lookup::without_waiting(sources.store, settings);
    let pod = find_pod(sources.store, request, &mut known.errors).await;
    let inputs = Inputs {
        pod: &pod,
        request,
        settings,
    };
    let mut requested = Requested::default();
    let mut found = Vec::new();
    let default = default_selection(&pod, settings).unwrap_or_else(|error| {
        known.errors.push(error);
        None
    });
    if let Some(selection) = default {
        match requested
            .find(&lookup, &selection, Some(&request.ifname))
            .await
        {
            Ok(()) => found.push(Found {
                selection,
                position: 0,
            }),
            Err(error) => known.errors.push(error),
        }
    }
    let node_default = node_default_network(sources.default_network, &lookup).await;
    let node_default = node_default.map(|network| inputs.default(network, None));
    let node_default = node_default.map_err(|error| known.errors.push(error)).ok();
    let is_system = settings.system_namespaces.contains(&pod.namespace);
    let common = common_networks(sources.default_network, &lookup, is_system).await;
    // A network that is not known still has a position, which decides the names of the others.
    let mut position = 0;
    for network in common {
        position += 1;
        match network {
            Ok(network) => known.others.push(inputs.other(network, None, position)),
            Err(error) => known.errors.push(error),
        }
    }
    let selected = selections(&pod, NETWORKS, &pod.namespace).unwrap_or_else(|error| {
        known.errors.push(error);
        Vec::new()
    });
    for selection in selected {
        position += 1;
        let name = ifname(Some(&selection), position);
        match requested.find(&lookup, &selection, Some(&name)).await {
            Ok(()) => found.push(Found {
                selection,
                position,
            }),
            Err(error) => known.errors.push(error),
        }
    }
    match requested.reserve(sources.memory, 0, limits).await {
        Ok(reservation) => {
            known.reservation = reservation;
            let networks = requested.networks(&lookup).await;
            for (found, network) in found.into_iter().zip(networks) {
                known.add(&inputs, found, network);
            }
        }
        Err(error) => known.errors.push(error),
    }
    known.default.extend(node_default);
    let version = known.default.first().map(|input| &input.default_network);
    let version = version.map_or(Version::LATEST, |network| network.config.cni_version);
    let auxiliary_chain = auxiliary_chain::read(settings, version).await;
    let is_taken = |name: &str| known.others.iter().any(|other| other.ifname == name);
    known.auxiliary_chain = auxiliary_chain.map(|network| PlanInput {
        ifname: auxiliary_ifname(position + 1, is_taken),
        ..inputs.other(network, None, position + 1)
    });
    known
}

impl KnownNetworks {
    fn add(
        &mut self,
        inputs: &Inputs<'_>,
        Found {
            selection,
            position,
        }: Found,
        network: Result<Network, GatherError>,
    ) {
        match network {
            Ok(network) if position == 0 => {
                self.default.push(inputs.default(network, Some(selection)));
            }
            Ok(network) => {
                let input = inputs.other(network, Some(selection), position);
                self.others.push(input);
            }
            Err(error) => self.errors.push(error),
        }
    }
}

/// What the inputs have in common.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    pod: &'a Pod,
    request: &'a PodRequest,
    settings: &'a Settings,
}

impl Inputs<'_> {
    fn default(self, network: Network, selection: Option<Selection>) -> PlanInput {
        PlanInput {
            ifname: self.request.ifname.clone(),
            container_id: self.request.container_id.clone(),
            links: BTreeSet::new(),
            pod: pod_ref(self.pod, &self.request.pod),
            cni_args: self.request.cni_args.clone(),
            runtime_config: self.request.runtime_config.clone(),
            default_network: network,
            default_selection: selection,
            common_networks: Vec::new(),
            selected: Vec::new(),
            auxiliary_chain: None,
            devices: Devices::new(),
            policy: policy(self.settings),
            // A definition that has taken this name since then must not prevent the DEL.
            network_names: None,
        }
    }

    /// The input of a network that is not the default network of its pod: without the restrictions
    /// and arguments of a default network.
    fn other(self, network: Network, selection: Option<Selection>, position: usize) -> PlanInput {
        let mut input = PlanInput {
            ifname: ifname(selection.as_ref(), position),
            runtime_config: RawMap::new(),
            ..self.default(network, selection)
        };
        input.policy.default_network_namespaces = None;
        input
    }
}

/// The current network of the definition of a recorded attachment, as the only network of its pod.
/// Returns `None` if there is no definition, or if the definition is invalid.
pub(crate) async fn current_definition(
    store: &Store,
    settings: &Settings,
    pod: &PodRef,
    attachment: &Attachment,
) -> Option<PlanInput> {
    let (namespace, name) = attachment.network.split_once('/')?;
    let definition = store.definition(namespace, name)?;
    let lookup = Lookup::without_waiting(store, settings);
    let mut policy = policy(settings);
    if !attachment.default {
        policy.default_network_namespaces = None;
    }
    Some(PlanInput {
        ifname: attachment.ifname.clone(),
        // Only the configuration of the attachment is used.
        container_id: String::new(),
        links: BTreeSet::new(),
        pod: pod.clone(),
        cni_args: CniArgs::parse_lossy(&attachment.cni_args),
        runtime_config: RawMap::new(),
        default_network: lookup.by_definition(&definition).await.ok()?,
        // A selected network is subject to the policy.
        default_selection: Some(Selection {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            device_id: attachment.device_id.clone(),
            ..Selection::default()
        }),
        common_networks: Vec::new(),
        selected: Vec::new(),
        auxiliary_chain: None,
        devices: Devices::new(),
        policy,
        network_names: None,
    })
}

/// The pod, without annotations if they cannot be read.
async fn find_pod(store: &Store, request: &PodRequest, errors: &mut Vec<GatherError>) -> Pod {
    match pod::find(store, None, request, LookupDeadlines::now()).await {
        Ok(pod) => pod,
        Err(error) => {
            errors.push(error);
            Pod {
                name: request.pod.name.clone(),
                namespace: request.pod.namespace.clone(),
                uid: request.pod.uid.clone(),
                ..Pod::default()
            }
        }
    }
}
