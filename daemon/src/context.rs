//! The shared handles that operations, recovery and the server use.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::attached_pods::AttachedPods;
use crate::cluster::Store;
use crate::cluster::kube::ApiReader;
use crate::conditions::Conditions;
use crate::config::{Fields, Settings};
use crate::delegate::Delegates;
use crate::gather::default_network::DefaultNetwork;
use crate::gather::{Kubelet, Sources};
use crate::host::{Host, Hosts};
use crate::install::InstallStatus;
use crate::ledger::Ledger;
use crate::memory_budget::MemoryBudget;
use crate::report::Reporter;
use crate::telemetry::Metrics;

/// Handles that need no ledger. With these alone, a daemon that waits for the ledger serves STATUS:
/// a slow plugin of the previous daemon must not make the node `NotReady`.
#[derive(Debug)]
pub(crate) struct NodeContext {
    /// The keys of the daemon's configuration files, which override the keys of a call.
    pub(crate) fields: Fields,
    /// The settings of the daemon's configuration files.
    pub(crate) settings: Settings,
    pub(crate) default_network: DefaultNetwork,
    pub(crate) delegates: Delegates,
    pub(crate) hosts: Hosts,
    /// The node's pods and all definitions.
    pub(crate) store: Store,
    /// The API server, for objects that the store does not have. `None` with `--manifests`.
    pub(crate) api_reader: Option<Arc<ApiReader>>,
    pub(crate) kubelet: Kubelet,
    /// For requests.
    pub(crate) request_memory: MemoryBudget,
    /// For the plans and records of pods.
    pub(crate) memory: MemoryBudget,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) conditions: Conditions,
    /// The plugin directories of the last call of a runtime. Empty before the first one.
    pub(crate) plugin_dirs: Mutex<Vec<PathBuf>>,
    /// The ID of the machine's current boot.
    pub(crate) boot_id: String,
}

impl NodeContext {
    /// Where the input of a plan comes from, with the paths of `host`.
    pub(crate) fn sources<'a>(&'a self, host: &'a Host) -> Sources<'a> {
        Sources {
            store: &self.store,
            api: self.api_reader.as_deref(),
            default_network: &self.default_network,
            memory: &self.memory,
            kubelet: &self.kubelet,
            host,
        }
    }
}

/// The handles of the daemon that owns the ledger.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) node: Arc<NodeContext>,
    pub(crate) ledger: Ledger,
    pub(crate) reporter: Reporter,
    pub(crate) install_status: InstallStatus,
    pub(crate) attached_pods: AttachedPods,
}
