//! The definitions that a pod requests: all are found first, then memory for their configurations is
//! reserved, and only then are they parsed (decision 37).

use std::sync::Arc;

use plexus_api::cni::MAX_PLUGINS;
use plexus_api::selection::Selection;

use super::error::GatherError;
use super::networks::Lookup;
use crate::call_limits::CallLimits;
use crate::cluster::Definition;
use crate::memory_budget::{MemoryBudget, Reservation};
use crate::model::{Network, attachment_label};
use crate::plan::check_size;

/// The definitions of a pod.
#[derive(Debug, Default)]
pub(super) struct Requested {
    /// Each definition once.
    definitions: Vec<Arc<Definition>>,
    elements: Vec<Element>,
}

/// An element of the annotation.
#[derive(Debug)]
struct Element {
    /// The index of the definition.
    definition: usize,
    /// The prefix of errors.
    label: String,
    /// The size of the values that the element adds to each plugin, in bytes.
    added: usize,
}

impl Requested {
    /// Finds the definition that `selection` names. `ifname` is the interface, if it is known already.
    /// After an error, the selection is not an element.
    pub(super) async fn find(
        &mut self,
        lookup: &Lookup<'_>,
        selection: &Selection,
        ifname: Option<&str>,
    ) -> Result<(), GatherError> {
        let (namespace, name) = (&selection.namespace, &selection.name);
        let count = self.definitions.len();
        let network = format!("{namespace}/{name}");
        let label = match ifname {
            Some(ifname) => attachment_label(&network, ifname),
            None => format!("network {network:?}"),
        };
        let known = self
            .definitions
            .iter()
            .position(|definition| definition.namespace == *namespace && definition.name == *name);
        let definition = if let Some(index) = known {
            index
        } else {
            let definition = match lookup.definition(namespace, name).await {
                Ok(Some(definition)) => definition,
                Ok(None) => return Err(GatherError::NoDefinition.context(label)),
                Err(error) => return Err(error.context(label)),
            };
            self.definitions.push(definition);
            self.definitions.len() - 1
        };
        self.elements.push(Element {
            definition,
            label,
            added: selection.size(),
        });
        let sizes = self.elements.iter().map(|element| {
            let definition = &self.definitions[element.definition];
            (definition.name.as_str(), definition.size())
        });
        let checked = check_size(sizes);
        if checked.is_err() {
            self.elements.pop();
            self.definitions.truncate(count);
        }
        Ok(checked?)
    }

    /// Reserves memory for the parsed configurations and for the attachments, and `further` bytes.
    pub(super) async fn reserve(
        &self,
        memory: &MemoryBudget,
        further: usize,
        limits: &CallLimits,
    ) -> Result<Reservation, GatherError> {
        // A configuration is copied once while it is parsed, or later as the input of a plugin.
        let shared: usize = self.definitions.iter().map(|d| 2 * d.size()).sum();
        let own = self.elements.iter().filter(|element| element.added > 0);
        let own: usize = own
            .map(|element| {
                self.definitions[element.definition].size() + MAX_PLUGINS * element.added
            })
            .sum();
        let bytes = (shared + own).saturating_add(further);
        Ok(memory.reserve(bytes, limits).await?)
    }

    /// The networks of the elements. Each definition is read once.
    pub(super) async fn networks(self, lookup: &Lookup<'_>) -> Vec<Result<Network, GatherError>> {
        let mut read: Vec<Option<Network>> = vec![None; self.definitions.len()];
        let mut networks = Vec::new();
        for Element {
            definition: index,
            label,
            ..
        } in self.elements
        {
            let network = match &read[index] {
                Some(network) => Ok(network.clone()),
                None => lookup
                    .by_definition(&self.definitions[index])
                    .await
                    .map_err(|error| error.context(label)),
            };
            read[index] = network.as_ref().ok().cloned();
            networks.push(network);
        }
        networks
    }
}

#[cfg(test)]
mod tests;
