//! The shared handles that operations, recovery and the server use.

use std::sync::Arc;

use crate::cluster::Store;
use crate::cluster::kube::Live;
use crate::config::{Fields, Settings};
use crate::delegate::Delegates;
use crate::gather::default_network::DefaultNetwork;
use crate::host::Hosts;
use crate::install::Status;
use crate::ledger::Ledger;
use crate::report::Reporter;
use crate::telemetry::Metrics;

/// All that the context work with; one for the daemon's life.
#[derive(Debug)]
pub(crate) struct Context {
    /// The keys of the daemon's own file, which win over those of a call.
    pub(crate) file: Fields,
    /// The daemon's configuration, from its file alone.
    pub(crate) settings: Settings,
    /// What is attached.
    pub(crate) ledger: Ledger,
    /// The default network.
    pub(crate) default_network: DefaultNetwork,
    /// What is installed on the node.
    pub(crate) installed: Status,
    /// The plugins.
    pub(crate) delegates: Delegates,
    /// Where plugins run.
    pub(crate) hosts: Hosts,
    /// The node's pods and the definitions.
    pub(crate) store: Store,
    /// The API server that they come from, where there is one.
    pub(crate) live: Option<Arc<Live>>,
    /// Where network-status goes.
    pub(crate) reporter: Reporter,
    /// What is measured.
    pub(crate) metrics: Arc<Metrics>,
    /// What identifies this boot of the machine.
    pub(crate) boot_id: String,
}
