//! A validated call of the runtime: the environment, the configuration, and the settings that
//! apply.

use std::collections::BTreeMap;
use std::time::Duration;

use plexus_api::cni::{
    CallConfig, CniArgs, CniEnv, CniError, Code, MAX_KEYS, RawMap, Verb, Version,
    validate_pod_argument,
};
use plexus_api::json::{MAX_CONFIG, check_limits, count_entries, decode};
use plexus_api::wire::{Moment, Request};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::call_limits::CallLimits;
use crate::clock::boottime_ns;
use crate::config::{Fields, Settings};
use crate::delegate::PluginCall;
use crate::gather::PodRequest;
use crate::host::Host;
use crate::model::PodRef;

/// The time limit of GC, below that of the shim.
const GC_TIME_LIMIT: Duration = Duration::from_mins(3);
/// The time limit of STATUS. Runtimes issue STATUS every few seconds, and hold a lock meanwhile
/// (P-105).
const STATUS_TIME_LIMIT: Duration = Duration::from_secs(5);

/// A validated call.
#[derive(Debug)]
pub(super) struct CniRequest {
    /// The host that runs the plugins.
    pub(crate) host: Host,
    pub(crate) env: CniEnv,
    /// The `cniVersion` of the configuration.
    pub(crate) version: Version,
    /// `CNI_ARGS`.
    pub(crate) args: CniArgs,
    /// The pod in `CNI_ARGS`. Its parts may be empty, except on ADD.
    pub(crate) pod: PodRef,
    /// The configuration on stdin.
    pub(crate) config: Fields,
    /// The settings of the call: those on stdin, overridden by those of the daemon's configuration
    /// files.
    pub(crate) settings: Settings,
    /// The environment of the caller, which plugins get (decision 30).
    pub(crate) plugin_env: BTreeMap<String, String>,
    /// The time of arrival, in nanoseconds since the boot.
    pub(crate) arrived_boottime_ns: Option<u64>,
    /// The start of the time limit.
    arrived: Instant,
    /// The time when the shim spooled the call. `None` if the call comes from the socket, or from
    /// an older shim.
    pub(crate) spooled_at: Option<Moment>,
}

/// Checks that a request is a valid DEL, whatever the settings.
///
/// # Errors
/// Those of the specification for an invalid call. A retry cannot succeed.
pub(crate) fn check_del(request: &Request) -> Result<(), CniError> {
    let (env, ..) = parse(request)?;
    match env.verb {
        Verb::Del => Ok(()),
        verb => {
            let msg = format!("{verb} is not a DEL");
            Err(CniError::new(Code::InvalidEnvironment, msg))
        }
    }
}

/// Parses the environment and the configuration.
fn parse(request: &Request) -> Result<(CniEnv, CallConfig, Version), CniError> {
    let env = CniEnv::from_map(&request.env)?;
    check_limits(&request.config, MAX_CONFIG)?;
    let keys = count_entries(&decode(&request.config));
    if keys > MAX_KEYS {
        let msg = format!("the configuration on stdin has {keys} keys, but may have {MAX_KEYS}");
        return Err(CniError::new(Code::Decode, msg));
    }
    let config = CallConfig::parse(&request.config)?;
    config.check(env.verb)?;
    let version = config.version()?;
    Ok((env, config, version))
}

impl CniRequest {
    /// Validates a request.
    ///
    /// # Errors
    /// The specification's codes 1, 2, 4, 6 and 7.
    pub(super) fn read(
        request: Request,
        host: Host,
        file: &Fields,
        arrived: Instant,
    ) -> Result<Self, CniError> {
        let arrived_boottime_ns = boottime_ns();
        let (env, config, version) = parse(&request)?;
        let config = Fields::from(config.object);
        let settings = read_settings(env.verb, &config, file)?;
        let args = match env.verb {
            Verb::Add => CniArgs::parse(&env.args)?,
            _ => CniArgs::parse_lossy(&env.args),
        };
        let pod = read_pod(env.verb, &args)?;
        Ok(Self {
            host,
            env,
            version,
            args,
            pod,
            config,
            settings,
            plugin_env: request.env.clone(),
            arrived_boottime_ns,
            arrived,
            spooled_at: request.at,
        })
    }

    /// The part of the call that gathering needs.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] if `runtimeConfig` is not an object.
    pub(super) fn pod_request(&self) -> Result<PodRequest, CniError> {
        let runtime_config = match self.config.raw("runtimeConfig") {
            None => RawMap::new(),
            Some(raw) => serde_json::from_str(raw.get()).map_err(|_| {
                CniError::new(
                    Code::InvalidConfig,
                    "\"runtimeConfig\" on stdin must be an object",
                )
            })?,
        };
        Ok(PodRequest {
            ifname: self.env.ifname.clone(),
            container_id: self.env.container_id.clone(),
            cni_args: self.args.clone(),
            runtime_config,
            pod: self.pod.clone(),
        })
    }

    /// The limits of the whole call, waits included.
    pub(super) fn limits(&self, cancel: CancellationToken) -> CallLimits {
        let time = time_limit(self.env.verb, &self.settings);
        CallLimits::new(self.subject(), self.arrived, time, cancel)
    }

    /// The common arguments of all plugin runs.
    pub(super) fn plugin_call(&self, limits: CallLimits) -> PluginCall {
        PluginCall {
            host: self.host.clone(),
            container_id: self.env.container_id.clone(),
            netns: self.env.netns.clone(),
            path: self.env.path.clone(),
            env: self.plugin_env.clone(),
            limits,
        }
    }

    /// The prefix of errors: verb and pod, or verb and container if the pod is unknown.
    pub(super) fn subject(&self) -> String {
        if self.pod.name.is_empty() {
            format!("{} {}", self.env.verb, self.env.container_id)
                .trim_end()
                .to_owned()
        } else {
            format!("{} pod {}", self.env.verb, self.pod)
        }
    }
}

/// The time limit of a call, without the rollback of a failed ADD. The shim waits longer.
pub(crate) fn time_limit(verb: Verb, settings: &Settings) -> Duration {
    match verb {
        Verb::Add => settings.add_timeout,
        Verb::Del | Verb::Check => settings.del_timeout,
        Verb::Gc => GC_TIME_LIMIT,
        Verb::Status | Verb::Version => STATUS_TIME_LIMIT,
    }
}

/// The settings of a call. DEL falls back to the daemon's configuration files, because DEL must
/// work even if the configuration has become invalid since ADD.
fn read_settings(verb: Verb, config: &Fields, file: &Fields) -> Result<Settings, CniError> {
    match Settings::read(&config.clone().overlaid_by(file)) {
        Err(error) if verb == Verb::Del => {
            tracing::warn!(%error, "invalid settings in the call; DEL uses those of the daemon's configuration files only");
            Ok(Settings::read(file)?)
        }
        settings => Ok(settings?),
    }
}

/// The pod in `CNI_ARGS`. Only ADD needs it; the other verbs find the sandbox by its container ID.
fn read_pod(verb: Verb, args: &CniArgs) -> Result<PodRef, CniError> {
    let part = |key: &str| match args.get(key) {
        None => Ok(String::new()),
        Some(value) => match validate_pod_argument(key, value) {
            Ok(()) => Ok(value.to_owned()),
            Err(error) if verb == Verb::Add => Err(CniError::from(error)),
            Err(error) => {
                tracing::warn!(%error, "{verb} ignores this argument");
                Ok(String::new())
            }
        },
    };
    let pod = PodRef {
        namespace: part("K8S_POD_NAMESPACE")?,
        name: part("K8S_POD_NAME")?,
        uid: part("K8S_POD_UID")?,
        is_static: false,
    };
    if verb == Verb::Add && (pod.namespace.is_empty() || pod.name.is_empty()) {
        let missing: Vec<_> = [
            ("K8S_POD_NAMESPACE", &pod.namespace),
            ("K8S_POD_NAME", &pod.name),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.is_empty().then_some(key))
        .collect();
        let msg = format!(
            "CNI_ARGS has no {}; Plexus serves pods of Kubernetes, whose runtimes set both, and no other \
             containers, such as those of nerdctl and podman",
            missing.join(" and no ")
        );
        return Err(CniError::new(Code::InvalidEnvironment, msg));
    }
    Ok(pod)
}
