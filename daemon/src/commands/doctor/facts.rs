//! What the checks examine, and what they have found out for later checks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use plexus_api::cni::CniError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::daemon_process::DaemonProcess;
use super::finding::Finding;
use crate::call_limits::CallLimits;
use crate::cli::{DaemonArgs, ServeArgs};
use crate::cluster::Store;
use crate::cluster::kube::{ApiDiagnosis, ApiReader};
use crate::config::{Settings, on_host};
use crate::delegate::{Delegates, PluginCall};
use crate::gather::default_network::FoundNetwork;
use crate::host::{Host, Hosts};
use crate::ledger::Ledger;
use crate::model::Network;
use crate::serve::{Config, ObjectSource, shim_beside_plexusd};
use crate::telemetry::Metrics;

/// Where the DaemonSet and `docs/administrator.md` have the configuration.
const DEFAULT_CONFIG: &str = "/etc/plexus/daemon-config.json";
const NO_CONFIG: &str = "no plexusd runs in this mount namespace; name its configuration with \
                         --config FILE, or run doctor in the container of plexusd";
/// The time limit for one plugin that a check runs.
const PLUGIN_LIMIT: Duration = Duration::from_secs(5);

/// The daemon, its configuration, and the results of earlier checks.
#[derive(Debug)]
pub(in crate::commands) struct Facts {
    pub(in crate::commands) args: ServeArgs,
    /// The daemon that runs in this mount namespace.
    pub(super) daemon: Option<DaemonProcess>,
    pub(super) config: Config,
    pub(super) metrics: Arc<Metrics>,
    pub(in crate::commands) store: Store,
    /// The source of the objects in the store, until it is started.
    pub(super) source: Option<ObjectSource>,
    /// `None` with a directory of manifests.
    pub(in crate::commands) cluster: Option<ClusterFacts>,
    /// Where plugins run.
    pub(in crate::commands) plugins: Option<Plugins>,
    pub(super) default_network: Option<FoundNetwork>,
    /// The networks of every pod.
    pub(super) networks: Vec<Network>,
    /// The definitions that pods of this node select.
    pub(super) selected: BTreeSet<(String, String)>,
    /// The usable networks of definitions, by namespace and name.
    pub(super) of_definitions: Vec<((String, String), Network)>,
    /// The versions that each plugin supports.
    pub(super) versions: BTreeMap<String, Result<Vec<String>, CniError>>,
}

/// Where plugins run, and the way to run them.
#[derive(Debug)]
pub(in crate::commands) struct Plugins {
    pub(super) hosts: Hosts,
    pub(in crate::commands) host: Host,
    pub(super) delegates: Delegates,
}

/// The cluster of the node.
#[derive(Debug)]
pub(in crate::commands) struct ClusterFacts {
    /// The name of the node.
    pub(in crate::commands) node: String,
    pub(in crate::commands) reader: Option<Arc<ApiReader>>,
    pub(super) diagnosis: ApiDiagnosis,
    /// The time of the API server, and that of the node at the same moment.
    pub(super) date: Option<(SystemTime, SystemTime)>,
}

impl Facts {
    /// Reads the configuration of the daemon.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn read(args: &DaemonArgs) -> Result<Self, Box<Finding>> {
        let daemon = DaemonProcess::find();
        let args = serve_args(args, daemon.as_ref());
        let config = Config::read(&args.config).map_err(|error| {
            let files = args.config.iter().map(|file| file.display().to_string());
            let files = files.collect::<Vec<_>>().join(", ");
            let text = format!("{error:#}");
            // The error names the file.
            let text = text.strip_prefix(&format!("{files}: ")).unwrap_or(&text);
            let finding = Finding::failed(&files, text);
            let is_guess = daemon.is_none() && args.config == [Path::new(DEFAULT_CONFIG)];
            Box::new(if is_guess {
                finding.with_remedy(NO_CONFIG)
            } else {
                finding
            })
        })?;
        Ok(Self {
            args,
            daemon,
            metrics: Arc::new(Metrics::new(false)),
            config,
            store: Store::default(),
            source: None,
            cluster: None,
            plugins: None,
            default_network: None,
            networks: Vec::new(),
            selected: BTreeSet::new(),
            of_definitions: Vec::new(),
            versions: BTreeMap::new(),
        })
    }

    /// What is accepted in the configuration, but has no effect, or not the expected one.
    pub(super) fn configuration_warnings(&self) -> Vec<Finding> {
        let warnings = self.config.warnings.iter();
        warnings
            .map(|warning| Finding::warning(&self.config.files, warning))
            .collect()
    }

    pub(in crate::commands) fn settings(&self) -> &Settings {
        &self.config.settings
    }

    /// The daemon's own copy of the shim.
    pub(super) fn shim(&self) -> PathBuf {
        self.args.shim.clone().unwrap_or_else(shim_beside_plexusd)
    }

    /// A call of plugins without a container.
    pub(super) fn plugin_call(&self, plugins: &Plugins) -> PluginCall {
        PluginCall {
            host: plugins.host.clone(),
            container_id: String::new(),
            netns: None,
            path: self.plugin_dirs(plugins),
            env: BTreeMap::new(),
            limits: CallLimits::new(
                "`plexusd doctor`",
                Instant::now(),
                PLUGIN_LIMIT,
                CancellationToken::new(),
            ),
        }
    }

    /// The plugin directories of the runtime: those of its last ADD that the ledger knows. Before
    /// the first ADD, the directory in which the runtime must find the shim.
    pub(super) fn plugin_dirs(&self, plugins: &Plugins) -> Vec<PathBuf> {
        let records = Ledger::summaries(&self.settings().state_dir);
        let planned = records.into_iter().flatten().flatten();
        let newest = planned.max_by_key(|record| record.planned.created_unix_ms);
        if let Some(record) = newest.filter(|record| !record.planned.cni_path.is_empty()) {
            return record.planned.cni_path.clone();
        }
        let on_host = |dir: &PathBuf| {
            if plugins.hosts.is_own() {
                dir.clone()
            } else {
                on_host(dir)
            }
        };
        self.settings().shim_dir.iter().map(on_host).collect()
    }
}

/// The options of the daemon: those of the command line, else those of the running daemon.
fn serve_args(args: &DaemonArgs, daemon: Option<&DaemonProcess>) -> ServeArgs {
    if let Some(daemon) = daemon.filter(|_| args.config.is_empty()) {
        return daemon.args.clone();
    }
    let DaemonArgs {
        config,
        manifests,
        kubeconfig,
        node_name,
        shim,
    } = args.clone();
    let config = if config.is_empty() {
        vec![DEFAULT_CONFIG.into()]
    } else {
        config
    };
    ServeArgs {
        config,
        manifests,
        kubeconfig,
        node_name,
        shim,
    }
}
