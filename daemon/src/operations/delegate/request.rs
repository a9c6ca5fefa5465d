//! A validated request of `/delegate`.

use std::sync::Arc;

use plexus_api::cni::{
    CniArgs, CniEnv, CniError, Code, Defaults, NetworkConfig, Verb, Version, validate_pod_argument,
};
use plexus_api::selection::{Selection, from_attributes};
use plexus_api::wire;

use crate::config::Fields;
use crate::delegate::ValidAttachment;
use crate::gather::DelegatedNetwork;
use crate::ledger::Planned;
use crate::model::{PodRef, meta_plugin_type};
use crate::operations::gc::listed_attachments;

/// A validated request.
#[derive(Debug)]
pub(super) struct DelegateRequest {
    pub(super) env: CniEnv,
    /// The pod in `CNI_ARGS`. Empty for STATUS and GC.
    pub(super) pod: PodRef,
    /// The configuration as sent.
    pub(super) config: Arc<NetworkConfig>,
    pub(super) selection: Selection,
    /// The attachments that GC keeps. Empty for the other verbs.
    pub(super) listed: Vec<ValidAttachment>,
}

impl DelegateRequest {
    /// Validates a request.
    ///
    /// # Errors
    /// The specification's codes 1, 4, 6 and 7; [`Code::InvalidAnnotation`] for an invalid interface
    /// attribute.
    pub(super) fn read(request: &wire::DelegateRequest) -> Result<Self, CniError> {
        let env = read_env(request)?;
        let pod = match env.verb {
            Verb::Status | Verb::Gc | Verb::Version => PodRef::default(),
            Verb::Add | Verb::Del | Verb::Check => read_pod(&env)?,
        };
        let config = read_config(&request.config)?;
        let selection = match &request.interface_attributes {
            None => Selection::default(),
            Some(attributes) => from_attributes(attributes)
                .map_err(|error| CniError::new(Code::InvalidAnnotation, error.to_string()))?,
        };
        let listed = match env.verb {
            Verb::Gc => read_listed(&request.config)?,
            _ => Vec::new(),
        };
        Ok(Self {
            env,
            pod,
            config: Arc::new(config),
            selection,
            listed,
        })
    }

    /// The network for the planner.
    pub(super) fn network(&self) -> DelegatedNetwork {
        DelegatedNetwork {
            config: Arc::clone(&self.config),
            selection: self.selection.clone(),
            ifname: self.env.ifname.clone(),
        }
    }

    /// The prefix of errors.
    pub(super) fn subject(&self) -> String {
        let subject = match self.env.verb {
            verb @ (Verb::Add | Verb::Del | Verb::Check) => format!("{verb} pod {}", self.pod),
            verb => format!("{verb} network {:?}", self.config.name),
        };
        format!("/delegate {subject}")
    }

    /// Checks that a sandbox is that of the request's pod.
    ///
    /// # Errors
    /// [`Code::InvalidEnvironment`] with both pods.
    pub(super) fn check_pod(&self, planned: &Planned) -> Result<(), CniError> {
        let (pod, own) = (&self.pod, &planned.pod);
        // The UID of a static pod is that of its mirror, or that of its manifest.
        let is_same_uid =
            pod.uid.is_empty() || own.uid.is_empty() || own.is_static || pod.uid == own.uid;
        if (&pod.namespace, &pod.name) == (&own.namespace, &own.name) && is_same_uid {
            return Ok(());
        }
        let msg = format!(
            "container {} belongs to pod {own} with UID {:?}, but CNI_ARGS names pod {pod} with UID {:?}; send the \
             container ID of the pod's current sandbox",
            planned.container_id, own.uid, pod.uid
        );
        Err(CniError::new(Code::InvalidEnvironment, msg))
    }
}

fn read_env(request: &wire::DelegateRequest) -> Result<CniEnv, CniError> {
    let get = |key: &str| request.env.get(key).map(String::as_str).unwrap_or_default();
    let verb = Verb::parse(get("CNI_COMMAND"))?;
    if verb == Verb::Version {
        let msg = "/delegate does not serve VERSION";
        return Err(CniError::new(Code::InvalidEnvironment, msg));
    }
    let needs_interface = matches!(verb, Verb::Add | Verb::Del | Verb::Check);
    if needs_interface && get("CNI_IFNAME").is_empty() {
        let msg = format!(
            "{verb} needs CNI_IFNAME; name the interface in the pod's annotation, as in NETWORK@INTERFACE"
        );
        return Err(CniError::new(Code::InvalidEnvironment, msg));
    }
    CniEnv::from_map(&request.env)
}

fn read_pod(env: &CniEnv) -> Result<PodRef, CniError> {
    let args = CniArgs::parse(&env.args)?;
    let part = |key: &str| match args.get(key) {
        None => Ok(String::new()),
        Some(value) => validate_pod_argument(key, value).map(|()| value.to_owned()),
    };
    let pod = PodRef {
        namespace: part("K8S_POD_NAMESPACE")?,
        name: part("K8S_POD_NAME")?,
        uid: part("K8S_POD_UID")?,
        is_static: false,
    };
    if pod.namespace.is_empty() || pod.name.is_empty() {
        let msg = "CNI_ARGS needs K8S_POD_NAMESPACE and K8S_POD_NAME";
        return Err(CniError::new(Code::InvalidEnvironment, msg));
    }
    Ok(pod)
}

fn read_config(bytes: &[u8]) -> Result<NetworkConfig, CniError> {
    let defaults = Defaults {
        name: None,
        version: Version::V1_0_0,
    };
    let config = NetworkConfig::parse(bytes, defaults).and_then(NetworkConfig::require_plugin);
    let config = config.map_err(|error| CniError::from(error).context("\"config\""))?;
    match meta_plugin_type(&config) {
        None => Ok(config),
        Some(kind) => {
            let msg = format!(
                "network {:?}: its configuration has a plugin of type {kind:?}, which would call Plexus again",
                config.name
            );
            Err(CniError::new(Code::InvalidConfig, msg))
        }
    }
}

fn read_listed(config: &[u8]) -> Result<Vec<ValidAttachment>, CniError> {
    let fields = Fields::parse(&String::from_utf8_lossy(config))?;
    let listed = listed_attachments(&fields)?.into_iter();
    let listed = listed.map(|key| ValidAttachment {
        container_id: key.container_id,
        ifname: key.ifname,
    });
    Ok(listed.collect())
}
