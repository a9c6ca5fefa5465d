//! The response to `/status`: the state of a daemon and of its ledger, for `plexusd status`.

use std::path::Path;
use std::time::Duration;

use plexus_api::cni::{CniError, PluginConfig};
use serde::{Deserialize, Serialize};

use super::ledger_reading::{FailingRecord, read_ledger};
use crate::config::Switch;
use crate::context::{Context, NodeContext};
use crate::gather::{default_networks, kubelet_socket, kubelet_socket_exists};
use crate::install::{ProblemKind, config_path, shim_path};
use crate::problem::Problem;
use crate::readiness::{self, NotReady};
use crate::telemetry::LedgerReading;

/// How long to wait for the mount namespace of the runtime.
const HOST_WAIT: Duration = Duration::from_secs(2);

/// The state of the node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NodeStatus {
    /// Whether a daemon runs and is ready.
    pub(crate) ready: bool,
    /// `None` if no daemon runs: the ledger is then read from disk.
    pub(crate) daemon: Option<DaemonStatus>,
    pub(crate) ledger: Reading<LedgerStatus>,
}

/// Something that was read, or the reason why it cannot be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Reading<T> {
    Known(T),
    Unknown { error: String },
}

impl<T> From<Result<T, String>> for Reading<T> {
    fn from(result: Result<T, String>) -> Self {
        match result {
            Ok(known) => Self::Known(known),
            Err(error) => Self::Unknown { error },
        }
    }
}

/// The state of a daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DaemonStatus {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) uptime_seconds: u64,
    pub(crate) resident_memory_bytes: Option<u64>,
    /// Empty if the node is ready.
    pub(crate) not_ready: Vec<NotReady>,
    /// Problems of the installation that leave the node ready.
    pub(crate) warnings: Vec<NotReady>,
    /// The runtime's configuration. `None` if Plexus does not publish one.
    pub(crate) configuration: Option<InstalledFile>,
    /// `None` if Plexus does not install the shim.
    pub(crate) shim: Option<InstalledFile>,
    pub(crate) default_network: Reading<NetworkView>,
    pub(crate) objects: ObjectsView,
    pub(crate) plugins: PluginsView,
    pub(crate) hotplug: HotplugView,
    pub(crate) devices: DevicesView,
    /// Whether a write of network-status is overdue.
    pub(crate) network_status_overdue: bool,
    pub(crate) events_dropped: u64,
}

/// A file that Plexus installs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstalledFile {
    pub(crate) path: String,
    /// Whether the file exists, and the installation has no problem with it.
    pub(crate) in_place: bool,
}

/// A network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NetworkView {
    pub(crate) name: String,
    /// `None` if the network comes from a definition or from the daemon's configuration.
    pub(crate) file: Option<String>,
    /// The types of the plugins.
    pub(crate) plugins: Vec<String>,
}

/// The objects in memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ObjectsView {
    pub(crate) pods: usize,
    pub(crate) definitions: usize,
    /// The time since the source last confirmed the objects of both kinds.
    pub(crate) age_seconds: Option<u64>,
    /// The age of the snapshot that the definitions come from, if any.
    pub(crate) snapshot_age_seconds: Option<u64>,
    /// The current error of the source.
    pub(crate) error: Option<String>,
}

/// Running plugins.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PluginsView {
    pub(crate) limit: usize,
    pub(crate) running_calls: usize,
    pub(crate) waiting_calls: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HotplugView {
    pub(crate) enabled: bool,
    /// The running pods that do not have the networks of their changed annotation.
    pub(crate) pending_pods: u64,
}

/// The sources of devices.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DevicesView {
    /// The path of kubelet's socket on the node.
    pub(crate) kubelet_socket: String,
    pub(crate) kubelet_socket_exists: Reading<bool>,
    /// `None` without DRA.
    pub(crate) dra: Option<SlicesView>,
}

/// The `ResourceSlices` in memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SlicesView {
    pub(crate) slices: usize,
    pub(crate) age_seconds: Option<u64>,
    pub(crate) error: Option<String>,
}

/// The ledger and the files beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LedgerStatus {
    pub(crate) state_dir: String,
    pub(crate) adding: usize,
    pub(crate) attached: usize,
    pub(crate) deleting: usize,
    pub(crate) orphaned: usize,
    pub(crate) unreadable: usize,
    pub(crate) network_status_pending: usize,
    pub(crate) spooled: usize,
    pub(crate) retired: usize,
    pub(crate) quarantined: usize,
    /// The record whose DEL has been failing longest.
    pub(crate) oldest_failure: Option<FailingRecord>,
}

impl NodeStatus {
    /// The state of this daemon. `starting` is the step of its start, until it has a `context`.
    pub(super) async fn of_daemon(
        node: &NodeContext,
        context: Option<&Context>,
        starting: Option<Problem>,
    ) -> Self {
        let daemon = DaemonStatus::read(node, context, starting).await;
        let state_dir = node.settings.state_dir.clone();
        let ledger = tokio::task::spawn_blocking(move || LedgerStatus::read(&state_dir)).await;
        let ledger = ledger.unwrap_or_else(|panic| Err(panic.to_string()));
        Self {
            ready: daemon.not_ready.is_empty(),
            daemon: Some(daemon),
            ledger: ledger.into(),
        }
    }

    /// The state of a node without a daemon. Blocking.
    pub(crate) fn from_disk(state_dir: &Path) -> Self {
        Self {
            ready: false,
            daemon: None,
            ledger: LedgerStatus::read(state_dir).into(),
        }
    }
}

impl DaemonStatus {
    async fn read(
        node: &NodeContext,
        context: Option<&Context>,
        starting: Option<Problem>,
    ) -> Self {
        let metrics = node.metrics.clone();
        let process = tokio::task::spawn_blocking(move || metrics.process()).await;
        let process = process.unwrap_or_default();
        let starting = starting.map(|problem| NotReady::new("starting", problem));
        let mut not_ready = Vec::from_iter(starting);
        not_ready.extend(context.into_iter().flat_map(readiness::problems));
        let install = context.map(|context| context.install_status.get());
        let install = install.unwrap_or_default();
        let warnings = install.problems.iter().filter(|found| !found.is_fatal());
        let file = |path: &Path, problems: &[ProblemKind]| InstalledFile {
            path: path.display().to_string(),
            in_place: path.exists() && !problems.iter().any(|kind| install.has(*kind)),
        };
        let config_problems = [ProblemKind::ConfigNotPublished, ProblemKind::ConfigNotFirst];
        let settings = &node.settings;
        let permits = node.delegates.permits();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: process.uptime.as_secs(),
            resident_memory_bytes: process.resident_memory,
            not_ready,
            warnings: warnings.map(NotReady::from).collect(),
            configuration: config_path(settings).map(|path| file(&path, &config_problems)),
            shim: shim_path(settings).map(|path| file(&path, &[ProblemKind::ShimNotInstalled])),
            default_network: default_network(node).await.into(),
            objects: ObjectsView::read(node),
            plugins: PluginsView {
                limit: permits.total,
                running_calls: permits.in_use,
                waiting_calls: permits.waiting.iter().sum(),
            },
            hotplug: HotplugView {
                enabled: settings.hotplug == Switch::On,
                pending_pods: node.metrics.hotplug_pending(),
            },
            devices: DevicesView::read(node).await,
            network_status_overdue: context.is_some_and(|context| context.reporter.is_overdue()),
            events_dropped: context.map_or(0, |context| context.reporter.events_dropped()),
        }
    }
}

async fn default_network(node: &NodeContext) -> Result<NetworkView, String> {
    let networks = default_networks(&node.store, &node.default_network, &node.settings).await;
    let networks = networks.map_err(|error| CniError::from(error).msg)?;
    let network = networks.into_iter().next().ok_or("not configured")?;
    let plugins = network.config.plugins.iter().map(PluginConfig::kind);
    let file = node.default_network.file();
    Ok(NetworkView {
        plugins: plugins.collect(),
        file: file.map(|file| file.display().to_string()),
        name: network.name,
    })
}

impl ObjectsView {
    fn read(node: &NodeContext) -> Self {
        let reading = node.store.reading();
        let ages = reading.pods_age.zip(reading.definitions_age);
        Self {
            pods: reading.pods,
            definitions: reading.definitions,
            age_seconds: seconds(ages.map(|(pods, definitions)| pods.max(definitions))),
            snapshot_age_seconds: seconds(reading.snapshot_age),
            error: node.store.failure(),
        }
    }
}

impl DevicesView {
    async fn read(node: &NodeContext) -> Self {
        let settings = &node.settings;
        let reading = node.store.reading();
        let find = async {
            let host = node
                .hosts
                .for_cleanup()
                .map_err(|error| error.to_string())?;
            let found = kubelet_socket_exists(&host, &settings.kubelet_dir).await;
            found.map_err(|error| error.to_string())
        };
        let found = tokio::time::timeout(HOST_WAIT, find).await;
        let exists = found.unwrap_or_else(|_| Err(format!("no answer within {HOST_WAIT:?}")));
        Self {
            kubelet_socket: kubelet_socket(&settings.kubelet_dir).display().to_string(),
            kubelet_socket_exists: exists.into(),
            dra: (settings.dra == Switch::On).then(|| SlicesView {
                slices: reading.slices,
                age_seconds: seconds(reading.slices_age),
                error: node.store.slices_failure(),
            }),
        }
    }
}

fn seconds(age: Option<Duration>) -> Option<u64> {
    age.map(|age| age.as_secs())
}

impl LedgerStatus {
    /// Reads the ledger from disk. Blocking.
    fn read(state_dir: &Path) -> Result<Self, String> {
        let (reading, oldest_failure) = read_ledger(state_dir).map_err(|e| e.to_string())?;
        let LedgerReading {
            adding,
            attached,
            deleting,
            orphaned,
            unreadable,
            status_pending,
            oldest_cleanup: _,
            quarantined,
            retired,
            spooled,
        } = reading;
        Ok(Self {
            state_dir: state_dir.display().to_string(),
            adding,
            attached,
            deleting,
            orphaned,
            unreadable,
            network_status_pending: status_pending,
            spooled,
            retired,
            quarantined,
            oldest_failure,
        })
    }
}
