//! The input of a plan from manifests alone, for commands that run without a daemon.

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_api::cni::{CniArgs, Defaults, NetworkConfig, Version};
use plexus_api::json::RawMap;
use plexus_api::selection::NETWORKS;

use super::error::GatherError;
use super::networks::{delegate, network};
use super::{default_selection, policy, selections};
use crate::cluster::Definition;
use crate::config::Settings;
use crate::model::{Allocation, Devices, Network, Pod, PodDevice, PodRef, attachment_label};
use crate::plan::{NamedDefinition, NetworkNames, PlanInput, SelectedNetwork, ifname};

/// The plugin of a network whose configuration is not in the files. The network declares every
/// capability, so that a plan has no warnings about what cannot be known.
const UNKNOWN: &str = r#"{"type": "unknown", "capabilities": {
    "ips": true, "mac": true, "portMappings": true, "bandwidth": true, "infinibandGUID": true}}"#;

/// The interface of the default network.
const IFNAME: &str = "eth0";

/// The files of a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offline<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) definitions: &'a [Definition],
    /// Whether a definition that is missing or invalid counts as a network of type `unknown`.
    pub(crate) is_tolerant: bool,
}

impl Offline<'_> {
    /// The input of a plan for a pod. Networks that only the node knows have the type `unknown`, and
    /// each network with a resource gets a device.
    ///
    /// # Errors
    /// An annotation is invalid, or a definition is missing or invalid.
    pub(crate) fn plan_input(&self, pod: &Pod) -> Result<PlanInput, GatherError> {
        let settings = self.settings;
        let default_selection = default_selection(pod, settings)?;
        let selections = selections(pod, NETWORKS, &pod.namespace)?;
        let default_network = match &default_selection {
            Some(selection) => self.selected(&selection.namespace, &selection.name, IFNAME)?,
            None => self.default_network()?,
        };
        let common = if settings.system_namespaces.contains(&pod.namespace) {
            Vec::new()
        } else {
            let names = settings.default_networks.iter();
            names
                .map(|name| self.of_node(name))
                .collect::<Result<_, _>>()?
        };
        let mut selected = Vec::new();
        for (index, selection) in selections.into_iter().enumerate() {
            let ifname = ifname(Some(&selection), 1 + common.len() + index);
            let network = self.selected(&selection.namespace, &selection.name, &ifname)?;
            selected.push(SelectedNetwork { selection, network });
        }
        let mut input = PlanInput {
            ifname: IFNAME.to_owned(),
            container_id: "container".to_owned(),
            links: BTreeSet::new(),
            pod: PodRef {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                uid: pod.uid.clone(),
                is_static: pod.is_static(),
            },
            cni_args: CniArgs::default(),
            runtime_config: RawMap::new(),
            default_network,
            default_selection,
            common_networks: common,
            selected,
            auxiliary_chain: None,
            devices: Devices::new(),
            policy: policy(settings),
            network_names: None,
        };
        input.devices = devices(&input);
        input.network_names = settings
            .namespace_isolation
            .then(|| self.network_names(&input));
        Ok(input)
    }

    /// The network of an element.
    fn selected(&self, namespace: &str, name: &str, ifname: &str) -> Result<Network, GatherError> {
        let label = format!("{namespace}/{name}");
        let network = match self.definition(namespace, name) {
            Some(definition) => of_definition(definition),
            None => Err(GatherError::NoDefinition),
        };
        match network {
            Err(_) if self.is_tolerant => Ok(unknown(&label, Some(namespace))),
            network => network.map_err(|error| error.context(attachment_label(&label, ifname))),
        }
    }

    /// The node's default network.
    fn default_network(&self) -> Result<Network, GatherError> {
        let settings = self.settings;
        match (&settings.cluster_network, settings.delegates.first()) {
            (Some(name), _) => self.of_node(name),
            (None, Some(first)) => delegate(0, first),
            (None, None) => Ok(unknown("default", None)),
        }
    }

    /// A network that the configuration of the node names.
    fn of_node(&self, name: &str) -> Result<Network, GatherError> {
        match self.definition(&self.settings.multus_namespace, name) {
            Some(definition) => of_definition(definition),
            None => Ok(unknown(name, None)),
        }
    }

    fn definition(&self, namespace: &str, name: &str) -> Option<&Definition> {
        // As in a directory of manifests, the last one counts.
        let mut definitions = self.definitions.iter().rev();
        definitions.find(|found| found.namespace == namespace && found.name == name)
    }

    fn network_names(&self, input: &PlanInput) -> NetworkNames {
        let of_node = std::iter::once(&input.default_network)
            .filter(|_| input.default_selection.is_none())
            .chain(&input.common_networks);
        let definitions = self.definitions.iter().map(|definition| NamedDefinition {
            namespace: definition.namespace.clone(),
            name: definition.name.clone(),
            network: definition.network_name().to_owned(),
            created: definition.created,
        });
        NetworkNames {
            of_node: of_node.cloned().map(Arc::new).collect(),
            trusted_namespace: self.settings.multus_namespace.clone(),
            definitions: definitions.collect(),
        }
    }
}

/// The network of a definition. Without `spec.config`, the configuration is on the node.
fn of_definition(definition: &Definition) -> Result<Network, GatherError> {
    match definition.network_config() {
        Ok(Some(config)) => network(definition, config),
        Ok(None) => network(definition, unknown(&definition.name, None).config),
        Err(error) => Err(GatherError::Definition(error)),
    }
}

fn unknown(name: &str, namespace: Option<&str>) -> Network {
    let defaults = Defaults {
        name: Some("unknown"),
        version: Version::LATEST,
    };
    // A constant: every test of this module parses it.
    let mut config = NetworkConfig::parse(UNKNOWN, defaults).expect("a valid configuration");
    let own_name = name.rsplit('/').next().unwrap_or_default();
    own_name.clone_into(&mut config.name);
    Network {
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        resource_name: None,
        config: config.into(),
    }
}

/// A device for each network with a resource.
fn devices(input: &PlanInput) -> Devices {
    let selected = input.selected.iter().map(|selected| &selected.network);
    let networks = std::iter::once(&input.default_network)
        .chain(&input.common_networks)
        .chain(selected);
    let mut devices = Devices::new();
    for resource in networks.filter_map(|network| network.resource_name.as_ref()) {
        let allocation = devices
            .entry(resource.clone())
            .or_insert_with(|| Allocation::Devices(BTreeSet::new()));
        if let Allocation::Devices(ids) = allocation {
            let id = format!("<device {:02} of {resource}>", ids.len() + 1);
            ids.insert(PodDevice::whole(id));
        }
    }
    devices
}
