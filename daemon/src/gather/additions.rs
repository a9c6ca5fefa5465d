//! Gathers what a running pod gets in addition.

use std::collections::{BTreeMap, BTreeSet};

use plexus_api::cni::CniArgs;
use plexus_api::json::RawMap;
use plexus_api::selection::Selection;
use tokio::time::Instant;

use super::error::GatherError;
use super::networks::Lookup;
use super::request::LookupDeadlines;
use super::requested::Requested;
use super::{Sources, devices, network_names, policy};
use crate::call_limits::CallLimits;
use crate::config::Settings;
use crate::memory_budget::Reservation;
use crate::model::{Allocation, Attachment, Devices, Network, PodDevice, PodRef};
use crate::plan::PlanInput;

/// The networks of elements of an annotation, each on its own: one that is missing or invalid does
/// not affect the others.
#[derive(Debug)]
pub(crate) struct Additions<'a> {
    sources: Sources<'a>,
    lookup: Lookup<'a>,
    networks: Vec<Result<Network, GatherError>>,
    /// The devices of the pod, for each resource of the networks.
    devices: Devices,
    _reservation: Reservation,
}

impl<'a> Additions<'a> {
    /// Gathers the networks of `elements`. Does not wait for definitions that are not known yet, which
    /// would delay the other networks: once they are known, the next round attaches them. Also reserves
    /// `further` bytes of memory, for the caller.
    ///
    /// # Errors
    /// The limits ended a wait.
    pub(crate) async fn gather(
        sources: Sources<'a>,
        settings: &'a Settings,
        pod: &PodRef,
        elements: &[&Selection],
        further: usize,
        limits: &CallLimits,
    ) -> Result<Self, GatherError> {
        let lookup = Lookup {
            store: sources.store,
            api: sources.api,
            settings,
            deadlines: LookupDeadlines {
                watch: Instant::now(),
                read: limits.within(settings.lookup_wait).deadline,
            },
        };
        let mut requested = Requested::default();
        let mut found = Vec::new();
        for element in elements {
            let ifname = element.interface.as_deref();
            found.push(requested.find(&lookup, element, ifname).await);
        }
        let reservation = requested.reserve(sources.memory, further, limits).await?;
        let mut read = requested.networks(&lookup).await.into_iter();
        let networks: Vec<_> = found
            .into_iter()
            .map(|found| found.and_then(|()| read.next().unwrap_or(Err(GatherError::NoDefinition))))
            .collect();
        let mut needed = devices::Needed::new();
        for network in networks.iter().flatten() {
            if let Some(resource) = &network.resource_name {
                *needed.entry(resource.clone()).or_default() += 1;
            }
        }
        let resources: Vec<_> = needed.keys().cloned().collect();
        let devices = devices::of_pod(sources, settings, pod, needed, limits.deadline).await;
        let devices = devices.unwrap_or_else(|error| {
            let unknown = Allocation::Unknown(error.to_string());
            let unknown = resources.into_iter().map(|one| (one, unknown.clone()));
            unknown.collect()
        });
        Ok(Self {
            sources,
            lookup,
            networks,
            devices,
            _reservation: reservation,
        })
    }

    /// The networks, as attachments without their arguments: the scope of the plugins that will run.
    pub(crate) fn scope(&self) -> impl Iterator<Item = Attachment> {
        self.networks.iter().flatten().map(|network| Attachment {
            selected: true,
            ..Attachment::new(&network.name, "", network.config.clone())
        })
    }

    /// The input of the plan of one element, in which its network is the only one of the pod.
    /// `attached` is what the sandbox has, and `links` are the names of its interfaces.
    ///
    /// # Errors
    /// The network is missing or invalid.
    pub(crate) async fn input(
        &mut self,
        position: usize,
        selection: &Selection,
        ifname: String,
        (pod, container_id): (&PodRef, &str),
        attached: &[&Attachment],
        links: &BTreeSet<String>,
    ) -> Result<PlanInput, GatherError> {
        let missing = || Err(GatherError::NoDefinition);
        let network = self.networks.get_mut(position);
        let network =
            network.map_or_else(missing, |network| std::mem::replace(network, missing()))?;
        let devices = unused(&self.devices, attached);
        let addition = Addition {
            network,
            selection: selection.clone(),
            ifname,
            devices,
        };
        let sandbox = (pod, container_id, links);
        addition.input(self.sources, &self.lookup, sandbox).await
    }
}

/// One network that a running sandbox gets in addition.
#[derive(Debug)]
pub(super) struct Addition {
    pub(super) network: Network,
    pub(super) selection: Selection,
    pub(super) ifname: String,
    pub(super) devices: Devices,
}

impl Addition {
    /// The input of the plan of this network alone, for the sandbox of a pod, with the container ID and
    /// the names of its interfaces.
    pub(super) async fn input(
        self,
        sources: Sources<'_>,
        lookup: &Lookup<'_>,
        (pod, container_id, links): (&PodRef, &str, &BTreeSet<String>),
    ) -> Result<PlanInput, GatherError> {
        let mut policy = policy(lookup.settings);
        policy.default_network_namespaces = None;
        let mut input = PlanInput {
            ifname: self.ifname,
            container_id: container_id.to_owned(),
            links: links.clone(),
            pod: pod.clone(),
            cni_args: cni_args(pod, container_id),
            runtime_config: RawMap::new(),
            default_network: self.network,
            default_selection: Some(Selection {
                // The name is decided already.
                interface: None,
                ..self.selection
            }),
            common_networks: Vec::new(),
            selected: Vec::new(),
            auxiliary_chain: None,
            devices: self.devices,
            policy,
            network_names: None,
        };
        if lookup.settings.namespace_isolation {
            let names = network_names::collect(&input, sources, lookup).await?;
            input.network_names = Some(names);
        }
        Ok(input)
    }
}

/// The devices of the pod that no attachment has. An attachment has one of the shares of a device.
fn unused(devices: &Devices, attached: &[&Attachment]) -> Devices {
    let mut used: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for attachment in attached {
        if let (Some(resource), Some(id)) = (&attachment.resource_name, &attachment.device_id) {
            *used.entry(resource).or_default().entry(id).or_default() += 1;
        }
    }
    let rest = |resource: &str, devices: &BTreeSet<PodDevice>| -> BTreeSet<PodDevice> {
        let mut used = used.get(resource).cloned().unwrap_or_default();
        let is_unused = |device: &&PodDevice| match used.get_mut(device.id.as_str()) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        };
        devices.iter().filter(is_unused).cloned().collect()
    };
    let allocations = devices.iter().map(|(resource, allocation)| {
        let allocation = match allocation {
            Allocation::Devices(devices) => {
                let rest = rest(resource, devices);
                if rest.is_empty() {
                    Allocation::InUse(devices.clone())
                } else {
                    Allocation::Devices(rest)
                }
            }
            Allocation::Incomplete(devices, cause) => {
                Allocation::Incomplete(rest(resource, devices), cause.clone())
            }
            other => other.clone(),
        };
        (resource.clone(), allocation)
    });
    allocations.collect()
}

/// `CNI_ARGS` as a runtime passes them.
fn cni_args(pod: &PodRef, container_id: &str) -> CniArgs {
    let mut args = CniArgs::default();
    args.set("IgnoreUnknown", "1");
    args.set("K8S_POD_NAMESPACE", &pod.namespace);
    args.set("K8S_POD_NAME", &pod.name);
    args.set("K8S_POD_INFRA_CONTAINER_ID", container_id);
    args.set("K8S_POD_UID", &pod.uid);
    args
}

#[cfg(test)]
mod tests;
