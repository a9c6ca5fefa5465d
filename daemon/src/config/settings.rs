//! The validated configuration.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use plexus_api::json::{Object, fold_key};
use plexus_api::wire::STATE_DIR;

use super::auxiliary_chain::AuxiliaryChain;
use super::cluster_routes::cluster_routes;
use super::fields::{Fields, FieldsError};
use super::install::{
    self, PublishSettings, check_shim_keys, master_cni, multus_socket_dir, publish, socket_dir,
    startup_taint,
};
use super::plugin_types::AllowedPluginTypes;
use super::switch::Switch;
use super::telemetry::{self, LogSettings, MetricsSettings};
use crate::suggest::suggest;

/// Keys of Multus that have no effect, accepted without a warning.
const IGNORED_KEYS: &[&str] = &[
    "connectionLimit",
    "enablePprof",
    "forceCNIVersion",
    "kubeconfig",
    "perNodeCertificate",
    "retryDeleteOnError",
    // Keys of the CNI specification, and keys that runtimes inject.
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

/// Keys that the shim reads. The daemon accepts them without a warning.
const SHIM_KEYS: &[&str] = &[
    "daemonWaitAdd",
    "daemonWaitDel",
    "daemonWaitStatus",
    "delWhenDown",
];

const YEAR: Duration = Duration::from_hours(365 * 24);
/// The highest `maxPluginRuns`. Each run is a process on the node.
const MAX_PLUGIN_RUNS: usize = 10_000;

/// The validated configuration. `docs/configuration.md` documents the keys.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `daemonSocketDir`: the directory of the socket.
    pub socket_dir: PathBuf,
    /// `stateDir`: the directory of the ledger and the spool.
    pub state_dir: PathBuf,
    /// `allowedUid`: the user who may call the daemon besides root.
    pub allowed_uid: Option<u32>,
    pub log: LogSettings,
    pub metrics: MetricsSettings,
    /// `binDir`: the plugin directory that is searched before `CNI_PATH`.
    pub bin_dir: Option<PathBuf>,
    /// `mountNamespace`: the mount namespace in which plugins run.
    pub mount_namespace: MountNamespace,
    /// `chrootDir`: the root directory of plugins, if something is mounted there.
    pub chroot_dir: Option<PathBuf>,
    /// `confDir`: the directory of network configurations by name.
    pub conf_dir: PathBuf,
    /// `cniDir`: the directory of Multus' cache.
    pub cni_dir: PathBuf,
    /// `kubeletDir`: the root directory of kubelet on the node.
    pub kubelet_dir: PathBuf,
    /// `clusterNetwork`: a definition, name, directory or file of the default network.
    pub cluster_network: Option<String>,
    /// `multusAutoconfigDir`: the directory whose first file has the default network. Used without
    /// `clusterNetwork`.
    pub autoconfig_dir: Option<PathBuf>,
    /// `multusMasterCNI`: the file in that directory that has the default network.
    pub master_cni: Option<String>,
    /// `primaryGrace`: how long the file of the default network must be missing in its directory
    /// before another one takes its place.
    pub primary_grace: Duration,
    /// `readinessindicatorfile`: the default network is not ready while this file is missing.
    pub readiness_indicator: Option<PathBuf>,
    /// The configuration to publish for the runtime. `None` if `cniConfigDir`,
    /// `multusAutoconfigDir` and `multusConfigFile` are unset.
    pub publish: Option<PublishSettings>,
    /// `shimDir`: the directory in which the shim is installed.
    pub shim_dir: Option<PathBuf>,
    /// `startupTaint`: the key of the taint that is removed once Plexus works on this node.
    pub startup_taint: Option<String>,
    /// `socketDir`: the directory of `multus.sock`. `None` if `multusSocket` is false, or both are
    /// unset.
    pub multus_socket_dir: Option<PathBuf>,
    /// `delegates`: inline configurations, the default network first. Used without
    /// `clusterNetwork`.
    pub delegates: Vec<Object>,
    /// `auxiliaryCNIChainName`: plugins on disk that run for every pod after its networks.
    pub auxiliary_chain: Option<AuxiliaryChain>,
    /// `defaultNetworks`: the networks of every pod outside the system namespaces.
    pub default_networks: Vec<String>,
    pub system_namespaces: BTreeSet<String>,
    /// `multusNamespace`: the namespace of definitions of default networks.
    pub multus_namespace: String,
    pub strict: bool,
    pub namespace_isolation: bool,
    pub global_namespaces: BTreeSet<String>,
    pub default_network_namespaces: Option<BTreeSet<String>>,
    /// `portMappingNamespaces`: the namespaces whose pods may request `portMappings`. `None` for all
    /// namespaces.
    pub port_mapping_namespaces: Option<BTreeSet<String>>,
    /// `allowedPluginTypes`. `None` if all types are allowed.
    pub allowed_plugin_types: Option<AllowedPluginTypes>,
    /// `pluginTimeout`: the time limit for one plugin.
    pub plugin_timeout: Duration,
    /// `addTimeout`: the time limit for ADD, without its rollback.
    pub add_timeout: Duration,
    /// `delTimeout`: the time limit for DEL and for a rollback.
    pub del_timeout: Duration,
    /// `lookupWait`: how long ADD waits for an unknown pod or definition.
    pub lookup_wait: Duration,
    /// `dra`: whether the devices of claims are considered (decision 33).
    pub dra: Switch,
    /// `hotplug`: whether running pods follow changes of their annotation (decision 34).
    pub hotplug: Switch,
    /// `snapshotMaxAge`: the largest age of a snapshot of the definitions that is used while the
    /// API server is unavailable. `None` for any age.
    pub snapshot_max_age: Option<Duration>,
    /// `maxPluginRuns`: how many calls run plugins at the same time. `None` if the limit
    /// depends on the memory.
    pub max_plugin_runs: Option<usize>,
    /// `checkPlugins`: the networks whose plugins a CHECK of the runtime runs (decision 28).
    pub check_plugins: CheckPlugins,
    /// `clusterRoutes`: destinations that stay reachable through the default network's gateway when
    /// another attachment gets the default route (decision 29).
    pub cluster_routes: Vec<IpNet>,
    /// `statusRequired`: whether ADD fails if network-status cannot be written.
    pub status_required: bool,
    /// `statusWait`: how long the answer to ADD waits until network-status is written.
    pub status_wait: Duration,
    /// `recoveryInterval`: the interval of the background cleanup.
    pub recovery_interval: Duration,
    /// `goneGap`: how long a sandbox must be missing before its attachments are deleted.
    pub gone_gap: Duration,
    /// `orphanAfter`: how long DEL must fail before the runtime gets a success.
    pub orphan_after: Duration,
    /// `retireAfter`: how long plugins must refuse the DEL of attachments that never succeeded.
    pub retire_after: Duration,
    /// `shutdownGrace`: how long calls may continue after SIGTERM.
    pub shutdown_grace: Duration,
}

/// The mount namespace in which plugins run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountNamespace {
    /// The daemon's mount namespace.
    Own,
    /// The mount namespace of the calling runtime.
    Caller,
    /// The mount namespace in this file.
    Path(PathBuf),
}

impl MountNamespace {
    fn read(fields: &Fields) -> Result<Self, FieldsError> {
        const KEY: &str = "mountNamespace";
        match fields.string(KEY)?.as_deref() {
            None | Some("own") => Ok(Self::Own),
            Some("caller") => Ok(Self::Caller),
            Some(path) if path.starts_with('/') => Ok(Self::Path(path.into())),
            Some(other) => {
                let allowed = "\"own\", \"caller\" or the absolute path of a mount namespace";
                Err(FieldsError::string(KEY, other, allowed))
            }
        }
    }
}

/// The networks whose plugins CHECK runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckPlugins {
    /// The default network of the node.
    Default,
    /// All networks of the sandbox.
    All,
    /// No network.
    None,
}

impl CheckPlugins {
    fn read(fields: &Fields) -> Result<Self, FieldsError> {
        const KEY: &str = "checkPlugins";
        match fields.string(KEY)?.as_deref() {
            None | Some("default") => Ok(Self::Default),
            Some("all") => Ok(Self::All),
            Some("none") => Ok(Self::None),
            Some(other) => {
                let allowed = "\"default\", \"all\" or \"none\"";
                Err(FieldsError::string(KEY, other, allowed))
            }
        }
    }
}

impl Settings {
    /// The keys that the daemon reads.
    pub const KEYS: &'static [&'static str] = KEYS;
    /// The keys that only the shim reads.
    pub const SHIM_KEYS: &'static [&'static str] = SHIM_KEYS;
    /// The keys that are accepted and have no effect.
    pub const IGNORED_KEYS: &'static [&'static str] = IGNORED_KEYS;

    /// The settings of the logs, which are needed before the others are valid.
    ///
    /// # Errors
    /// A key of the logs has an invalid value.
    pub fn log(fields: &Fields) -> Result<LogSettings, FieldsError> {
        LogSettings::read(fields, fields.boolean("strict", false)?)
    }

    /// Validates the keys.
    ///
    /// # Errors
    /// The first key with an invalid value.
    pub fn read(fields: &Fields) -> Result<Self, FieldsError> {
        let strict = fields.boolean("strict", false)?;
        check_shim_keys(fields)?;
        let seconds = Duration::from_secs;
        Ok(Self {
            socket_dir: socket_dir(fields)?,
            state_dir: fields.path("stateDir", STATE_DIR)?,
            allowed_uid: fields.get("allowedUid", "a user id")?,
            log: LogSettings::read(fields, strict)?,
            metrics: MetricsSettings::read(fields)?,
            bin_dir: bin_dir(fields)?,
            mount_namespace: MountNamespace::read(fields)?,
            chroot_dir: fields
                .optional_path("chrootDir")?
                .filter(|dir| dir != Path::new("/")),
            conf_dir: fields.path("confDir", "/etc/cni/multus/net.d")?,
            cni_dir: fields.path("cniDir", "/var/lib/cni/multus")?,
            kubelet_dir: fields.path("kubeletDir", "/var/lib/kubelet")?,
            cluster_network: fields.string("clusterNetwork")?,
            autoconfig_dir: fields.optional_path("multusAutoconfigDir")?,
            master_cni: master_cni(fields)?,
            primary_grace: fields.duration("primaryGrace", seconds(30))?,
            readiness_indicator: fields.optional_path("readinessindicatorfile")?,
            publish: publish(fields)?,
            shim_dir: fields.optional_path("shimDir")?,
            startup_taint: startup_taint(fields)?,
            multus_socket_dir: multus_socket_dir(fields)?,
            delegates: fields
                .get("delegates", "a list of network configurations")?
                .unwrap_or_default(),
            auxiliary_chain: AuxiliaryChain::read(fields)?,
            default_networks: fields.strings("defaultNetworks")?.unwrap_or_default(),
            system_namespaces: set(fields.strings("systemNamespaces")?)
                .unwrap_or_else(|| singleton("kube-system")),
            multus_namespace: fields
                .string("multusNamespace")?
                .unwrap_or_else(|| "kube-system".to_owned()),
            strict,
            namespace_isolation: fields.boolean("namespaceIsolation", false)?,
            global_namespaces: global_namespaces(fields)?,
            default_network_namespaces: set(fields.strings("defaultNetworkNamespaces")?),
            port_mapping_namespaces: set(fields.strings("portMappingNamespaces")?),
            allowed_plugin_types: AllowedPluginTypes::read(fields)?,
            plugin_timeout: fields.positive_duration("pluginTimeout", seconds(30))?,
            add_timeout: fields.positive_duration("addTimeout", seconds(90))?,
            del_timeout: fields.positive_duration("delTimeout", seconds(50))?,
            lookup_wait: fields.duration("lookupWait", Duration::from_millis(2500))?,
            dra: Switch::read(fields, "dra")?,
            hotplug: Switch::read(fields, "hotplug")?,
            snapshot_max_age: fields.duration_up_to("snapshotMaxAge", YEAR)?,
            max_plugin_runs: fields.positive_integer("maxPluginRuns", MAX_PLUGIN_RUNS)?,
            cluster_routes: cluster_routes(fields)?,
            check_plugins: CheckPlugins::read(fields)?,
            status_required: fields.boolean("statusRequired", false)?,
            status_wait: fields.duration("statusWait", seconds(1))?,
            recovery_interval: fields.positive_duration("recoveryInterval", seconds(30))?,
            gone_gap: fields.duration("goneGap", seconds(60))?,
            orphan_after: fields.duration("orphanAfter", seconds(60))?,
            retire_after: fields.duration("retireAfter", seconds(600))?,
            shutdown_grace: fields.duration("shutdownGrace", seconds(20))?,
        })
    }

    /// The unknown keys of `fields`, for a warning at start-up.
    pub fn unknown_keys(fields: &Fields) -> Vec<String> {
        let known: BTreeSet<String> = IGNORED_KEYS
            .iter()
            .chain(SHIM_KEYS)
            .chain(KEYS)
            .map(|key| fold_key(key))
            .collect();
        let mut unknown = fields.keys();
        unknown.retain(|key| !key.starts_with("cni.dev/") && !known.contains(key));
        unknown.into_iter().collect()
    }

    /// The key that an unknown key is probably a misspelling of.
    pub fn similar_key(unknown: &str) -> Option<&'static str> {
        suggest(unknown, KEYS.iter().chain(SHIM_KEYS).copied())
    }

    /// Warnings at start-up about values that have no effect or an unexpected effect.
    pub fn startup_warnings(fields: &Fields) -> Vec<String> {
        let mut warnings = telemetry::startup_warnings(fields);
        warnings.extend(install::startup_warning(fields));
        warnings
    }
}

/// Keys that [`Settings::read`] reads.
const KEYS: &[&str] = &[
    "addTimeout",
    "allowedPluginTypes",
    "allowedUid",
    "auxiliaryCNIChainName",
    "binDir",
    "checkPlugins",
    "chrootDir",
    "clusterNetwork",
    "clusterRoutes",
    "cniDir",
    "cniConfigDir",
    "confDir",
    "daemonSocketDir",
    "defaultNetworkNamespaces",
    "defaultNetworks",
    "delTimeout",
    "delegates",
    "dra",
    "globalNamespaces",
    "goneGap",
    "hotplug",
    "kubeletDir",
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
    "portMappingNamespaces",
    "primaryGrace",
    "readinessindicatorfile",
    "recoveryInterval",
    "retireAfter",
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

/// `binDir`: one directory, as in Multus. It becomes a part of `CNI_PATH`, where `:` separates.
fn bin_dir(fields: &Fields) -> Result<Option<PathBuf>, FieldsError> {
    const KEY: &str = "binDir";
    let dir = fields.optional_path(KEY)?;
    match dir.as_ref().and_then(|dir| dir.to_str()) {
        Some(text) if text.contains(':') => Err(FieldsError::string(
            KEY,
            text,
            "a single directory, without ':'",
        )),
        _ => Ok(dir),
    }
}

/// `globalNamespaces`: a list separated by commas, as in Multus. The list replaces the default.
fn global_namespaces(fields: &Fields) -> Result<BTreeSet<String>, FieldsError> {
    let Some(text) = fields.string("globalNamespaces")? else {
        return Ok(singleton("default"));
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

fn singleton(item: &str) -> BTreeSet<String> {
    BTreeSet::from([item.to_owned()])
}
