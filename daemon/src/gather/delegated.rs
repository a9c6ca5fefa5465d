//! Gathers a network whose configuration comes from a program, and not from a definition.

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_api::cni::NetworkConfig;
use plexus_api::selection::{self, NETWORKS, Selection};
use tokio::time::Instant;

use super::Sources;
use super::additions::Addition;
use super::error::GatherError;
use super::networks::Lookup;
use super::request::LookupDeadlines;
use crate::call_limits::CallLimits;
use crate::cluster::{Definition, Store};
use crate::config::Settings;
use crate::model::{Devices, Network, PodRef};
use crate::plan::PlanInput;

/// A network for one interface of a running pod, as a program asks for it.
#[derive(Debug, Clone)]
pub(crate) struct DelegatedNetwork {
    pub(crate) config: Arc<NetworkConfig>,
    pub(crate) selection: Selection,
    pub(crate) ifname: String,
}

impl DelegatedNetwork {
    /// The input of the plan of this network alone, for the sandbox of a pod, with the container ID and
    /// the names of its interfaces.
    ///
    /// # Errors
    /// Namespace isolation is on, and the networks of the node or the definitions are not known.
    pub(crate) async fn input(
        self,
        sources: Sources<'_>,
        settings: &Settings,
        (pod, container_id, links): (&PodRef, &str, &BTreeSet<String>),
        limits: &CallLimits,
    ) -> Result<PlanInput, GatherError> {
        let lookup = Lookup {
            store: sources.store,
            api: sources.api,
            settings,
            deadlines: LookupDeadlines {
                watch: limits.deadline.min(Instant::now() + settings.lookup_wait),
                read: limits.deadline,
            },
        };
        if settings.namespace_isolation
            && !sources.store.wait_definitions(lookup.deadlines.watch).await
        {
            return Err(GatherError::DefinitionsPending);
        }
        let addition = Addition {
            network: self.network(sources.store, settings, pod),
            selection: self.selection,
            ifname: self.ifname,
            devices: Devices::new(),
        };
        let sandbox = (pod, container_id, links);
        addition.input(sources, &lookup, sandbox).await
    }

    /// The network, under the name and with the namespace of its definition. A network without a
    /// definition counts as one of the pod's namespace.
    fn network(&self, store: &Store, settings: &Settings, pod: &PodRef) -> Network {
        let config = Arc::clone(&self.config);
        match self.definition(store, settings, pod) {
            Some(definition) => Network {
                name: format!("{}/{}", definition.namespace, definition.name),
                namespace: Some(definition.namespace.clone()),
                resource_name: None,
                config,
            },
            None => Network {
                name: config.name.clone(),
                namespace: Some(pod.namespace.clone()),
                resource_name: None,
                config,
            },
        }
    }

    /// The definition that the configuration comes from: one with the same network name. The request
    /// does not name the definition, so the one that the pod's annotation selects for the interface
    /// comes first, then one of the pod's namespace, then one that every pod may use.
    fn definition(
        &self,
        store: &Store,
        settings: &Settings,
        pod: &PodRef,
    ) -> Option<Arc<Definition>> {
        let has_name = |definition: &Arc<Definition>| definition.network_name() == self.config.name;
        let selected = self.selected(store, pod).into_iter().find(has_name);
        selected.or_else(|| {
            let is_own = |definition: &Definition| definition.namespace == pod.namespace;
            let definitions = store.definitions().into_iter().filter(|definition| {
                let is_global = settings.global_namespaces.contains(&definition.namespace);
                has_name(definition) && (is_global || is_own(definition))
            });
            definitions.min_by_key(|definition| {
                let has_other_name = definition.name != self.config.name;
                let name = (definition.namespace.clone(), definition.name.clone());
                (!is_own(definition), has_other_name, name)
            })
        })
    }

    /// The definitions that the pod's annotation selects for the interface.
    fn selected(&self, store: &Store, pod: &PodRef) -> Vec<Arc<Definition>> {
        let known = store.pod(&pod.namespace, &pod.name);
        let Some(known) = known.filter(|known| known.matches_uid(&pod.uid)) else {
            return Vec::new();
        };
        let annotation = known.annotations.get(NETWORKS).map(String::as_str);
        let elements = selection::parse(annotation.unwrap_or_default(), &pod.namespace);
        let elements = elements.unwrap_or_default().into_iter();
        elements
            .filter(|element| element.interface.as_deref() == Some(&self.ifname))
            .filter_map(|element| store.definition(&element.namespace, &element.name))
            .collect()
    }
}
