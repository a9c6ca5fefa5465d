//! One call as it came in: environment, configuration, and the settings that hold for it.

use std::collections::BTreeMap;
use std::time::Duration;

use plexus_api::cni::{
    CallConfig, CniArgs, CniEnv, CniError, Code, RawMap, Verb, Version, validate_pod_argument,
};
use plexus_api::json::{MAX_CONFIG, check_limits};
use plexus_api::wire::{Moment, Request};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::boottime_ns;
use crate::config::{Fields, Settings};
use crate::delegate::PluginCall;
use crate::gather::PodRequest;
use crate::host::Host;
use crate::model::PodRef;

/// Variables beside `CNI_*` that plugins get from the runtime: tracing (P-021), and leave for a namespace.
const PASSED_ON: [&str; 4] = ["TRACEPARENT", "TRACESTATE", "BAGGAGE", "CNI_NETNS_OVERRIDE"];

/// A call, checked.
#[derive(Debug)]
pub(super) struct CniRequest {
    /// Where plugins run.
    pub(crate) host: Host,
    /// The environment.
    pub(crate) env: CniEnv,
    /// The configuration's version.
    pub(crate) version: Version,
    /// `CNI_ARGS`.
    pub(crate) args: CniArgs,
    /// The pod that `CNI_ARGS` name; parts may be empty but on ADD.
    pub(crate) pod: PodRef,
    /// The configuration on stdin.
    pub(crate) config: Fields,
    /// The settings: stdin, overlaid by the daemon's file.
    pub(crate) settings: Settings,
    /// Variables to hand on.
    pub(crate) pass_on: BTreeMap<String, String>,
    /// When it came, in nanoseconds since the boot.
    pub(crate) arrived_boottime_ns: Option<u64>,
    /// When the shim left it in the spool, where it comes from there and says so.
    pub(crate) spooled_at: Option<Moment>,
}

impl CniRequest {
    /// Checks a request.
    ///
    /// # Errors
    /// The specification's codes 1, 2, 4, 6 and 7, before anything has been done.
    pub(super) fn read(request: &Request, host: Host, file: &Fields) -> Result<Self, CniError> {
        let arrived_boottime_ns = boottime_ns();
        let env = CniEnv::from_map(&request.env)?;
        check_limits(&request.config, MAX_CONFIG)?;
        let config = CallConfig::parse(&request.config)?;
        config.check(env.verb)?;
        let version = config.version()?;
        let config = Fields::from(config.object);
        let settings = match Settings::read(&config.clone().overlaid_by(file)) {
            // What was attached must go, whatever the configuration has become since.
            Err(error) if env.verb == Verb::Del => {
                tracing::warn!(%error, "DEL goes on with the settings of the daemon's file");
                Settings::read(file)?
            }
            settings => settings?,
        };
        let args = match env.verb {
            Verb::Add => CniArgs::parse(&env.args)?,
            _ => CniArgs::parse_lossy(&env.args),
        };
        let part = |key: &str| match args.get(key) {
            None => Ok(String::new()),
            Some(value) => match validate_pod_argument(key, value) {
                Ok(()) => Ok(value.to_owned()),
                Err(error) if env.verb == Verb::Add => Err(CniError::from(error)),
                // What there is of the container goes by its id.
                Err(error) => {
                    tracing::warn!(%error, "{} goes on without", env.verb);
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
        if env.verb == Verb::Add && (pod.namespace.is_empty() || pod.name.is_empty()) {
            let msg = "ADD needs K8S_POD_NAMESPACE and K8S_POD_NAME in CNI_ARGS";
            return Err(CniError::new(Code::InvalidEnvironment, msg));
        }
        let pass_on = request
            .env
            .iter()
            .filter(|(key, _)| PASSED_ON.contains(&key.as_str()));
        let pass_on = pass_on
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Ok(Self {
            host,
            env,
            version,
            args,
            pod,
            config,
            settings,
            pass_on,
            arrived_boottime_ns,
            spooled_at: request.at.clone(),
        })
    }

    /// What gathering needs.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] where `runtimeConfig` is not an object.
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
            cni_args: self.args.clone(),
            runtime_config,
            pod: self.pod.clone(),
        })
    }

    /// What the plugins are called with, within `time` from now.
    pub(super) fn plugin_call(&self, time: Duration, cancel: CancellationToken) -> PluginCall {
        PluginCall {
            host: self.host.clone(),
            container_id: self.env.container_id.clone(),
            netns: self.env.netns.clone(),
            path: self.env.path.clone(),
            env: self.pass_on.clone(),
            deadline: Instant::now() + time,
            cancel,
        }
    }

    /// The words that an error begins with: which pod, or which container where the pod is not known.
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
