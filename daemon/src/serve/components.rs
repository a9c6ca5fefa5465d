//! The components of the daemon, built once before the daemon takes over the node.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use plexus_api::wire::{MULTUS_SOCKET_NAME, SOCKET_NAME};
use tokio::task::JoinHandle;

use super::preflight::preflight;
use super::source::{ObjectSource, ReporterFactory};
use super::{Config, Mode};
use crate::cli::ServeArgs;
use crate::clock::boot_id;
use crate::cluster::kube::ApiReader;
use crate::cluster::{DefinitionSnapshot, Store};
use crate::conditions::Conditions;
use crate::config::{Fields, Settings, on_host};
use crate::context::NodeContext;
use crate::delegate::{Delegates, PluginSettings};
use crate::gather::Kubelet;
use crate::gather::default_network::DefaultNetwork;
use crate::host::{Hosts, memory};
use crate::install::SHIM;
use crate::ledger::UnlockedLedger;
use crate::memory_budget::MemoryBudget;
use crate::readiness::StartupTaint;
use crate::recovery::surviving_plugins;
use crate::server::Listener;
use crate::telemetry::{Logs, Metrics};

/// The environment variable with the generation of the DaemonSet that this process belongs to. Of
/// two daemons on one node, the one of the newer generation serves, even if the container of the
/// other is started again. A pod does not know the UID of its DaemonSet, so generations of different
/// sets are compared as well.
const GENERATION_VARIABLE: &str = "PLEXUS_GENERATION";

/// The memory for large requests, in bytes.
const REQUEST_MEMORY: usize = 8 << 20;
/// The memory for plans and records of large pods, in bytes (decision 37).
const POD_MEMORY: usize = 16 << 20;

/// The components that live as long as the process.
pub(super) struct Components {
    pub(super) mode: Mode,
    /// See [`GENERATION_VARIABLE`].
    pub(super) generation: Option<u64>,
    /// The daemon's own copy of the shim.
    pub(super) shim: PathBuf,
    pub(super) fields: Fields,
    pub(super) settings: Settings,
    pub(super) logs: Logs,
    pub(super) metrics: Arc<Metrics>,
    pub(super) hosts: Hosts,
    pub(super) store: Store,
    pub(super) api_reader: Option<Arc<ApiReader>>,
    pub(super) snapshot: Option<DefinitionSnapshot>,
    pub(super) startup_taint: Option<Arc<StartupTaint>>,
    pub(super) default_network: DefaultNetwork,
    pub(super) boot_id: String,
    /// Creates the reporter of a daemon that owns the ledger.
    pub(super) new_reporter: ReporterFactory,
}

/// The tasks that keep the store and the default network up to date. A feed handles all errors, and
/// ends only with a panic. The daemon then exits for its supervisor to restart it, because it would
/// serve outdated data.
pub(super) struct Feeds {
    objects: JoinHandle<Infallible>,
    default_network: JoinHandle<Infallible>,
}

impl Components {
    /// Builds everything, and starts the feeds.
    ///
    /// # Errors
    /// An argument is invalid, or the daemon lacks a permission.
    pub(super) async fn build(
        args: &ServeArgs,
        mode: Mode,
        Config {
            fields, settings, ..
        }: Config,
        logs: Logs,
    ) -> anyhow::Result<(Self, Feeds)> {
        let store = Store::default();
        let metrics = Arc::new(Metrics::new(settings.metrics.multus));
        // Arguments are checked before permissions: an invalid argument is easier to fix.
        let source = ObjectSource::open(args, &settings, &store, metrics.clone()).await?;
        preflight(&settings)?;
        let hosts = Hosts::open(
            &settings.mount_namespace,
            settings.chroot_dir.as_deref(),
            &settings.state_dir,
        )?;
        let (snapshot, api_reader) = (source.snapshot(), source.api_reader());
        let new_reporter = source.reporter_factory();
        let startup_taint = source
            .startup_taint(&settings)
            .filter(|_| mode == Mode::Install)
            .map(Arc::new);
        let objects = tokio::spawn(source.run());
        let (default_network, follower) = DefaultNetwork::open(&settings, &store).await;
        let feeds = Feeds {
            objects,
            default_network: tokio::spawn(follower.run()),
        };
        let components = Self {
            mode,
            generation: std::env::var(GENERATION_VARIABLE)
                .ok()
                .and_then(|generation| generation.parse().ok()),
            shim: args.shim.clone().unwrap_or_else(shim_beside_plexusd),
            fields,
            settings,
            logs,
            metrics,
            hosts,
            store,
            api_reader,
            snapshot,
            startup_taint,
            default_network,
            boot_id: boot_id().context("the machine's boot ID")?,
            new_reporter,
        };
        Ok((components, feeds))
    }

    /// The handles that work before the ledger is locked. The ID of `ledger` marks the plugins that
    /// this daemon starts.
    pub(super) fn node_context(&self, ledger: Option<&UnlockedLedger>) -> NodeContext {
        let plugins = plugin_settings(&self.settings, &self.hosts, ledger);
        NodeContext {
            fields: self.fields.clone(),
            settings: self.settings.clone(),
            default_network: self.default_network.clone(),
            delegates: Delegates::new(plugins, self.metrics.clone()),
            hosts: self.hosts.clone(),
            store: self.store.clone(),
            api_reader: self.api_reader.clone(),
            kubelet: Kubelet::new(self.metrics.clone()),
            request_memory: MemoryBudget::new(REQUEST_MEMORY),
            memory: MemoryBudget::new(POD_MEMORY),
            metrics: self.metrics.clone(),
            conditions: Conditions::default(),
            plugin_dirs: Mutex::default(),
            boot_id: self.boot_id.clone(),
        }
    }

    /// The path of the socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.settings.socket_dir.join(SOCKET_NAME)
    }

    /// Binds the socket. A running daemon then hands over to this one.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub(super) fn bind_socket(&self) -> io::Result<Listener> {
        let Settings {
            socket_dir,
            allowed_uid,
            ..
        } = &self.settings;
        Listener::bind(socket_dir, SOCKET_NAME, *allowed_uid, self.hosts.clone())
    }

    /// Binds the socket of Multus' daemon for clients of Multus, if `multusSocketDir` is set. A
    /// failure is only logged.
    pub(super) fn bind_multus_socket(&self) -> Option<Listener> {
        let dir = self.settings.multus_socket_dir.as_deref()?;
        let hosts = self.hosts.clone();
        Listener::bind(dir, MULTUS_SOCKET_NAME, self.settings.allowed_uid, hosts)
            .inspect_err(|error| tracing::warn!(%error, "Plexus does not listen on multus.sock"))
            .ok()
    }
}

impl Feeds {
    /// Waits until a feed panics. Returns the panic.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        let Err(panic) = tokio::select! {
            end = &mut self.objects => end,
            end = &mut self.default_network => end,
        };
        anyhow::Error::from(panic).context("pods, definitions or the default network")
    }
}

/// The settings of plugins that run on `hosts`. The ID of `ledger` marks the plugins.
pub(crate) fn plugin_settings(
    settings: &Settings,
    hosts: &Hosts,
    ledger: Option<&UnlockedLedger>,
) -> PluginSettings {
    let ledger_id = ledger.map_or("", UnlockedLedger::id);
    let bin_dir = |dir: &PathBuf| {
        if hosts.is_own() {
            dir.clone()
        } else {
            on_host(dir)
        }
    };
    PluginSettings {
        bin_dirs: settings.bin_dir.iter().map(bin_dir).collect(),
        plugin_timeout: settings.plugin_timeout,
        permits: settings
            .max_plugin_runs
            .unwrap_or_else(memory::max_plugin_runs),
        marker: (surviving_plugins::LEDGER_VARIABLE, ledger_id.to_owned()),
        ledger_lock: ledger.map(UnlockedLedger::lock_file).unwrap_or_default(),
    }
}

/// The shim that is installed unless an option names another one.
pub(crate) fn shim_beside_plexusd() -> PathBuf {
    std::env::current_exe()
        .unwrap_or_default()
        .with_file_name(SHIM)
}
