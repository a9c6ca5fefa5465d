//! Errors of gathering.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plexus_api::cni::ConfigError;
use plexus_api::selection::{DEFAULT_NETWORK, POD_ANNOTATIONS, SelectionError};

use super::devices::KubeletError;
use super::disk::{DiskError, skipped_files};
use crate::call_limits::WaitError;
use crate::cluster::kube::ApiError;
use crate::cluster::{MAX_RESOURCE_NAME, RESOURCE_NAME};
use crate::plan::PlanTooLarge;

#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum GatherError {
    #[error("runtimeConfig key {POD_ANNOTATIONS:?} must be a map of strings: {0}")]
    PodAnnotations(String),
    #[error(
        "the pod is not known on this node, and the runtime did not pass its annotations; retry \
         once the pod is known"
    )]
    UnknownPod,
    #[error(
        "the pod of this name in the cluster has UID {known:?}, but the call is for UID \
         {requested:?}; a retry can succeed if the watch is behind"
    )]
    OtherPod { known: String, requested: String },
    #[error("cannot get {object} from the API server: {source}")]
    Api {
        object: String,
        source: Arc<ApiError>,
    },
    #[error("annotation {annotation:?}: {}", without_repetition(source))]
    Annotation {
        annotation: &'static str,
        source: SelectionError,
    },
    #[error("annotation {DEFAULT_NETWORK:?} must name exactly one network, but names {0}")]
    DefaultNetworkCount(usize),
    #[error(transparent)]
    TooLarge(#[from] PlanTooLarge),
    #[error(transparent)]
    Memory(#[from] WaitError),
    #[error(transparent)]
    Kubelet(#[from] KubeletError),
    #[error("there is no network-attachment-definition of this name")]
    NoDefinition,
    /// Neither the definition nor a file on the node has a configuration (K-003).
    #[error(
        "the definition has no spec.config, and confDir ({}) has no network {name:?}{}; check the spelling and the \
         indentation of spec.config", .dir.display(), skipped_files(.skipped)
    )]
    NoConfig {
        name: String,
        dir: PathBuf,
        skipped: Vec<DiskError>,
    },
    /// A name without a namespace in [`DEFAULT_NETWORK`].
    #[error(
        "{source}; a name without a namespace in {DEFAULT_NETWORK:?} is looked up in {namespace:?} (multusNamespace), write \
         NAMESPACE/NAME for another one"
    )]
    DefaultNetworkNamespace {
        namespace: String,
        source: Box<GatherError>,
    },
    #[error("its network-attachment-definition: {0}")]
    Definition(#[source] ConfigError),
    #[error(
        "its network-attachment-definition: the annotation {RESOURCE_NAME:?} has {0} bytes, but the name of a resource has \
         at most {MAX_RESOURCE_NAME}"
    )]
    ResourceName(usize),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("delegates[{index}]: {source}")]
    Delegate { index: usize, source: ConfigError },
    #[error(
        "no default network: set multusAutoconfigDir, clusterNetwork or delegates in the node's \
         configuration"
    )]
    NoDefaultNetworkConfigured,
    /// The default network would call Plexus again (K-071).
    #[error("network {network:?} has a plugin of type {kind:?}, which would call Plexus again")]
    MetaPlugin { network: String, kind: String },
    #[error("the default network has not been looked up yet")]
    DefaultNetworkPending,
    #[error("the default network is not ready: readinessindicatorfile {} is missing", .0.display())]
    DefaultNetworkNotReady(PathBuf),
    /// The default network is missing, but may appear (decision 18). `key` configures it.
    #[error("no default network: {key}: {source}")]
    DefaultNetworkMissing {
        key: &'static str,
        source: Box<GatherError>,
    },
    /// The file of the default network is missing or broken, and another file does not take its
    /// place yet (decision 32).
    #[error(
        "{} is missing or cannot be used; {} takes its place only after {grace:?} (primaryGrace)", missing.display(),
        other.display()
    )]
    DefaultNetworkFileMissing {
        missing: PathBuf,
        other: PathBuf,
        grace: Duration,
    },
    /// Namespace isolation compares network names with those of all definitions.
    #[error(
        "the network-attachment-definitions are not known yet, and namespace isolation compares network names with \
         theirs; retry later"
    )]
    DefinitionsPending,
    /// An error with the configuration key, definition or interface that it concerns.
    #[error("{context}: {source}")]
    Context {
        context: String,
        source: Box<GatherError>,
    },
}

impl GatherError {
    #[must_use]
    pub(super) fn context(self, context: impl Into<String>) -> Self {
        Self::Context {
            context: context.into(),
            source: Box::new(self),
        }
    }

    pub(super) fn api(object: impl Into<String>, source: ApiError) -> Self {
        Self::Api {
            object: object.into(),
            source: Arc::new(source),
        }
    }

    /// What to do if there is no default network because of this error.
    pub(crate) fn remedy_of_default_network(&self) -> &'static str {
        match self {
            Self::DefaultNetworkPending => "wait a moment",
            Self::NoDefaultNetworkConfigured => "then restart plexusd",
            Self::DefaultNetworkNotReady(_) => {
                "wait for the network plugin that writes this file, or correct readinessindicatorfile"
            }
            Self::DefaultNetworkMissing { .. } => {
                "install the network plugin that writes the file, or correct this key"
            }
            Self::DefaultNetworkFileMissing { .. } => {
                "repair the network plugin that writes the file, or wait for the other one"
            }
            _ => "correct the network, or its name in the daemon's configuration",
        }
    }

    /// Whether no definition or file has the network.
    pub(super) fn is_missing(&self) -> bool {
        match self {
            Self::NoDefinition | Self::NoConfig { .. } => true,
            Self::Disk(error) => error.is_missing(),
            Self::Context { source, .. } | Self::DefaultNetworkNamespace { source, .. } => {
                source.is_missing()
            }
            _ => false,
        }
    }
}

/// The error of an annotation, without its location if that is the annotation as a whole.
fn without_repetition(error: &SelectionError) -> String {
    if error.location == "annotation" {
        error.reason.clone()
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use plexus_api::selection::{NETWORKS, parse};

    use super::*;

    #[test]
    fn an_error_says_once_that_it_is_about_the_annotation() {
        for (text, expected) in [
            ("{}", "{} is not a list"),
            ("a,", "item 2"),
            ("[{}]", "element 1"),
        ] {
            let source = parse(text, "ns").expect_err(text);
            let error = GatherError::Annotation {
                annotation: NETWORKS,
                source,
            };
            let start = format!("annotation {NETWORKS:?}: {expected}");
            assert!(error.to_string().starts_with(&start), "{error}");
        }
    }
}
