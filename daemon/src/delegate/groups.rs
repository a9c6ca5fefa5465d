//! Groups of calls, each with a share of the permits to run plugins.
//!
//! A call without a network of the pod's own choice belongs to no group: every pod depends on the
//! plugins of the default network anyway.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use crate::model::Attachment;

/// A group of calls whose plugins can hang for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Calls of pods that select networks.
    Selecting,
    /// Calls of pods in this namespace that select networks.
    Namespace(String),
    /// Calls of pods that select this network.
    Network(String),
    /// Calls of pods that select a network with a plugin or IPAM plugin of this type.
    PluginType(String),
}

impl Group {
    /// The groups of a call for a pod in `namespace`.
    pub(super) fn of(namespace: &str, attachments: &[Attachment]) -> BTreeSet<Self> {
        let mut groups = BTreeSet::new();
        for attachment in attachments.iter().filter(|attachment| attachment.selected) {
            let config = &attachment.config;
            groups.insert(Self::Selecting);
            groups.insert(Self::Namespace(namespace.to_owned()));
            groups.insert(Self::Network(config.name.clone()));
            for plugin in &config.plugins {
                groups.insert(Self::PluginType(plugin.kind()));
                groups.extend(plugin.ipam_type().map(Self::PluginType));
            }
        }
        groups
    }

    /// How many of `total` permits the group may hold, at least one.
    pub(super) fn share(&self, total: usize) -> usize {
        let share = match self {
            Self::Selecting => total - (total / 4).max(1),
            Self::Namespace(_) | Self::Network(_) | Self::PluginType(_) => total / 2,
        };
        share.max(1)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Selecting => write!(f, "pods that select networks"),
            Self::Namespace(name) => write!(f, "networks of pods in namespace {name:?}"),
            Self::Network(name) => write!(f, "network {name:?}"),
            Self::PluginType(kind) => write!(f, "plugin {kind:?}"),
        }
    }
}
