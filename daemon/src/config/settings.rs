//! The configuration as the daemon uses it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_api::cni::RawMap;
use plexus_api::wire::{SOCKET_DIR, STATE_DIR};

use super::install::{
    Publish, check_shim_keys, master_cni, multus_socket_dir, optional_path, publish, startup_taint,
};
use super::telemetry::{self, LogSettings, MetricsSettings};
use super::{Fields, FieldsError};

/// Keys that Multus reads and that have no meaning here, or not yet; they are accepted in silence.
const ACCEPTED: &[&str] = &[
    "auxiliaryCNIChainName",
    "connectionLimit",
    "enablePprof",
    "forceCNIVersion",
    "kubeconfig",
    "perNodeCertificate",
    "retryDeleteOnError",
    // The specification's, and what runtimes inject.
    "args",
    "capabilities",
    "cniVersion",
    "cniVersions",
    "disableCheck",
    "disableGC",
    "dns",
    "ipam",
    "loadOnlyInlinedPlugins",
    "name",
    "plugins",
    "prevResult",
    "runtimeConfig",
    "type",
];

/// Keys that the shim reads; the daemon accepts them in silence.
const SHIMS: &[&str] = &[
    "daemonWaitAdd",
    "daemonWaitDel",
    "daemonWaitStatus",
    "delWhenDown",
];

/// The checked configuration. See `docs/administrator.md` for what each key means to a user.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `daemonSocketDir`: the directory of the socket.
    pub socket_dir: PathBuf,
    /// `stateDir`: ledger and spool.
    pub state_dir: PathBuf,
    /// `allowedUid`: a user who may call besides root.
    pub allowed_uid: Option<u32>,
    /// What is logged, and where to.
    pub log: LogSettings,
    /// Where the metrics are.
    pub metrics: MetricsSettings,
    /// `binDir`: searched before the runtime's `CNI_PATH`.
    pub bin_dir: Option<PathBuf>,
    /// `mountNamespace`: where plugins run.
    pub mount_namespace: MountNamespace,
    /// `chrootDir`: the root of plugins, where something is mounted there.
    pub chroot_dir: Option<PathBuf>,
    /// `confDir`: networks by name on disk.
    pub conf_dir: PathBuf,
    /// `cniDir`: what Multus remembers of the pods that it attached.
    pub cni_dir: PathBuf,
    /// `clusterNetwork`: the default network by definition, name, directory or file.
    pub cluster_network: Option<String>,
    /// `multusAutoconfigDir`: the directory in whose first file the default network is, without `clusterNetwork`.
    pub autoconfig_dir: Option<PathBuf>,
    /// `multusMasterCNI`: the file in that directory that it is in.
    pub master_cni: Option<String>,
    /// `readinessindicatorfile`: while this file is missing, the default network is not ready.
    pub readiness_indicator: Option<PathBuf>,
    /// What is put on the node for the runtime; nothing where neither `cniConfigDir`, `multusAutoconfigDir` nor
    /// `multusConfigFile` is set.
    pub publish: Option<Publish>,
    /// `shimDir`: where the shim is installed, if at all.
    pub shim_dir: Option<PathBuf>,
    /// `startupTaint`: the key of the taint that this node loses once Plexus works on it.
    pub startup_taint: Option<String>,
    /// `multusSocket`, or where it is not set whether `socketDir` is: the directory in which the daemon also listens on
    /// `multus.sock`.
    pub multus_socket_dir: Option<PathBuf>,
    /// `delegates`: literal configurations, the default network first; used without `clusterNetwork`.
    pub delegates: Vec<RawMap>,
    /// `defaultNetworks`: networks for every pod outside the system namespaces.
    pub default_networks: Vec<String>,
    /// `systemNamespaces`.
    pub system_namespaces: BTreeSet<String>,
    /// `multusNamespace`: where definitions of default networks are.
    pub multus_namespace: String,
    /// `strict`.
    pub strict: bool,
    /// `namespaceIsolation`.
    pub namespace_isolation: bool,
    /// `globalNamespaces`.
    pub global_namespaces: BTreeSet<String>,
    /// `defaultNetworkNamespaces`.
    pub default_network_namespaces: Option<BTreeSet<String>>,
    /// `allowedPluginTypes`.
    pub allowed_plugin_types: Option<BTreeSet<String>>,
    /// `pluginTimeout`: the longest run of one plugin.
    pub plugin_timeout: Duration,
    /// `addTimeout`: the longest ADD, rollback not counted.
    pub add_timeout: Duration,
    /// `delTimeout`: the longest DEL, and the longest rollback.
    pub del_timeout: Duration,
    /// `lookupWait`: how long an ADD waits for a pod or a definition that is not known yet.
    pub lookup_wait: Duration,
    /// `snapshotMaxAge`: how old definitions may be that serve while the API server is away; unset: any age.
    pub snapshot_max_age: Option<Duration>,
    /// `maxPluginRuns`: how many calls run plugins at the same time; unset: as the memory allows.
    pub max_plugin_runs: Option<usize>,
    /// `statusRequired`: an ADD whose network-status cannot be written fails.
    pub status_required: bool,
    /// `statusWait`: how long the answer to an ADD waits for network-status to be on the pod.
    pub status_wait: Duration,
    /// `recoveryInterval`: how often leftovers are looked for.
    pub recovery_interval: Duration,
    /// `goneGap`: how long a sandbox must look gone before its attachments are removed.
    pub gone_gap: Duration,
    /// `orphanAfter`: how long a DEL must have been failing before the runtime is told that it succeeded.
    pub orphan_after: Duration,
    /// `shutdownGrace`: how long calls in flight may go on after SIGTERM.
    pub shutdown_grace: Duration,
}

/// The mount namespace in which plugins run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountNamespace {
    /// The daemon's own.
    Own,
    /// That of the runtime which calls.
    Caller,
    /// The one that this file is.
    Path(PathBuf),
}

impl MountNamespace {
    fn read(fields: &Fields) -> Result<Self, FieldsError> {
        const KEY: &str = "mountNamespace";
        match fields.text(KEY)?.as_deref() {
            None | Some("own") => Ok(Self::Own),
            Some("caller") => Ok(Self::Caller),
            Some(path) if path.starts_with('/') => Ok(Self::Path(path.into())),
            Some(other) => Err(FieldsError::Value {
                key: KEY.to_owned(),
                value: format!("{other:?}"),
                allowed: "\"own\", \"caller\" or the absolute path of a mount namespace".to_owned(),
            }),
        }
    }
}

impl Settings {
    /// The keys that have a meaning to the daemon.
    pub const KEYS: &'static [&'static str] = OURS;
    /// The keys that have a meaning to the shim alone.
    pub const SHIM_KEYS: &'static [&'static str] = SHIMS;
    /// The keys that are accepted and have no meaning here, or not yet.
    pub const IGNORED_KEYS: &'static [&'static str] = ACCEPTED;

    /// Checks the keys.
    ///
    /// # Errors
    /// The first key with a value that it cannot have.
    pub fn read(fields: &Fields) -> Result<Self, FieldsError> {
        let strict = fields.boolean("strict", false)?;
        check_shim_keys(fields)?;
        let seconds = Duration::from_secs;
        Ok(Self {
            socket_dir: fields.path("daemonSocketDir", SOCKET_DIR)?,
            state_dir: fields.path("stateDir", STATE_DIR)?,
            allowed_uid: fields.get("allowedUid", "a user id")?,
            log: LogSettings::read(fields, strict)?,
            metrics: MetricsSettings::read(fields)?,
            bin_dir: fields
                .raw("binDir")
                .map(|_| fields.path("binDir", "/opt/cni/bin"))
                .transpose()?,
            mount_namespace: MountNamespace::read(fields)?,
            chroot_dir: fields
                .raw("chrootDir")
                .map(|_| fields.path("chrootDir", "/"))
                .transpose()?
                .filter(|dir| dir != Path::new("/")),
            conf_dir: fields.path("confDir", "/etc/cni/multus/net.d")?,
            cni_dir: fields.path("cniDir", "/var/lib/cni/multus")?,
            cluster_network: fields.text("clusterNetwork")?,
            autoconfig_dir: optional_path(fields, "multusAutoconfigDir")?,
            master_cni: master_cni(fields)?,
            readiness_indicator: optional_path(fields, "readinessindicatorfile")?,
            publish: publish(fields)?,
            shim_dir: optional_path(fields, "shimDir")?,
            startup_taint: startup_taint(fields)?,
            multus_socket_dir: multus_socket_dir(fields)?,
            delegates: fields
                .get("delegates", "a list of network configurations")?
                .unwrap_or_default(),
            default_networks: fields.texts("defaultNetworks")?.unwrap_or_default(),
            system_namespaces: set(fields.texts("systemNamespaces")?)
                .unwrap_or_else(|| one("kube-system")),
            multus_namespace: fields
                .text("multusNamespace")?
                .unwrap_or_else(|| "kube-system".to_owned()),
            strict,
            namespace_isolation: fields.boolean("namespaceIsolation", false)?,
            global_namespaces: global_namespaces(fields)?,
            default_network_namespaces: set(fields.texts("defaultNetworkNamespaces")?),
            allowed_plugin_types: set(fields.texts("allowedPluginTypes")?),
            plugin_timeout: fields.time("pluginTimeout", seconds(30))?,
            add_timeout: fields.time("addTimeout", seconds(90))?,
            del_timeout: fields.time("delTimeout", seconds(50))?,
            lookup_wait: fields.duration("lookupWait", Duration::from_millis(2500))?,
            snapshot_max_age: fields
                .raw("snapshotMaxAge")
                .map(|_| fields.duration("snapshotMaxAge", Duration::MAX))
                .transpose()?,
            max_plugin_runs: fields.count("maxPluginRuns")?,
            status_required: fields.boolean("statusRequired", false)?,
            status_wait: fields.duration("statusWait", seconds(1))?,
            recovery_interval: fields.time("recoveryInterval", seconds(30))?,
            gone_gap: fields.duration("goneGap", seconds(60))?,
            orphan_after: fields.duration("orphanAfter", seconds(60))?,
            shutdown_grace: fields.duration("shutdownGrace", seconds(20))?,
        })
    }

    /// The keys of `fields` that nobody reads, for a warning at start.
    pub fn unknown_keys(fields: &Fields) -> Vec<&str> {
        let known: BTreeSet<String> = ACCEPTED
            .iter()
            .chain(SHIMS)
            .chain(OURS)
            .map(|key| key.to_ascii_lowercase())
            .collect();
        fields
            .keys()
            .filter(|key| !key.starts_with("cni.dev/") && !known.contains(*key))
            .collect()
    }

    /// What else to warn of at start: values that have no effect, or one that surprises.
    pub fn notices(fields: &Fields) -> Vec<String> {
        telemetry::notices(fields)
    }
}

/// The keys that [`Settings::read`] reads.
const OURS: &[&str] = &[
    "addTimeout",
    "allowedPluginTypes",
    "allowedUid",
    "binDir",
    "chrootDir",
    "clusterNetwork",
    "cniDir",
    "cniConfigDir",
    "confDir",
    "daemonSocketDir",
    "defaultNetworkNamespaces",
    "defaultNetworks",
    "delTimeout",
    "delegates",
    "globalNamespaces",
    "goneGap",
    "logFile",
    "logFormat",
    "logLevel",
    "logOptions",
    "logToStderr",
    "lookupWait",
    "maxPluginRuns",
    "metricsAddress",
    "metricsPort",
    "mountNamespace",
    "multusAutoconfigDir",
    "multusConfigFile",
    "multusMasterCNI",
    "multusNamespace",
    "multusSocket",
    "namespaceIsolation",
    "orphanAfter",
    "overrideNetworkName",
    "pluginTimeout",
    "readinessindicatorfile",
    "recoveryInterval",
    "shimDir",
    "shutdownGrace",
    "socketDir",
    "snapshotMaxAge",
    "startupTaint",
    "stateDir",
    "statusRequired",
    "statusWait",
    "strict",
    "systemNamespaces",
];

/// A comma list, as Multus has it; a given list replaces `default`.
fn global_namespaces(fields: &Fields) -> Result<BTreeSet<String>, FieldsError> {
    let Some(text) = fields.text("globalNamespaces")? else {
        return Ok(one("default"));
    };
    Ok(text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect())
}

fn set(list: Option<Vec<String>>) -> Option<BTreeSet<String>> {
    list.map(|items| items.into_iter().collect())
}

fn one(item: &str) -> BTreeSet<String> {
    BTreeSet::from([item.to_owned()])
}
