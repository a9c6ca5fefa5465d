//! The parameters of a CNI call for one interface of a pod.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{Pod, Sandbox};

/// The capability under which containerd passes the pod's annotations.
const POD_ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// What a CNI call is about: container, network namespace, interface and pod.
#[derive(Debug, Clone)]
pub struct CniTarget {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_NETNS`, empty if the sandbox was removed.
    pub netns: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// The pod in `CNI_ARGS`.
    pub pod: Option<Pod>,
    /// All capability arguments of the runtime. The plugin gets those that its configuration
    /// declares.
    pub capability_args: Map<String, Value>,
    /// Additional pairs in `CNI_ARGS`.
    pub args: Vec<(String, String)>,
    /// Environment variables that override those of the runtime. `None` removes a variable.
    pub env: BTreeMap<String, Option<String>>,
}

impl Sandbox<'_> {
    /// The interface `eth0` of `pod` in this sandbox.
    pub fn target(&self, pod: &Pod) -> CniTarget {
        self.interface("eth0", pod)
    }

    /// The interface `ifname` of `pod` in this sandbox. Passes the pod's annotations as containerd
    /// does.
    pub fn interface(&self, ifname: &str, pod: &Pod) -> CniTarget {
        let annotations = if pod.annotations.is_empty() {
            Value::Null
        } else {
            json!(pod.annotations)
        };
        CniTarget {
            container: self.id().to_owned(),
            netns: self.path().to_owned(),
            ifname: ifname.to_owned(),
            pod: Some(pod.clone()),
            capability_args: Map::from_iter([(POD_ANNOTATIONS.to_owned(), annotations)]),
            args: Vec::new(),
            env: BTreeMap::new(),
        }
    }
}

impl CniTarget {
    /// The same after the sandbox was removed: `CNI_NETNS` is empty.
    #[must_use]
    pub fn without_netns(&self) -> Self {
        Self {
            netns: String::new(),
            ..self.clone()
        }
    }

    /// Sets an environment variable, or removes it.
    #[must_use]
    pub fn with_env(mut self, key: &str, value: Option<&str>) -> Self {
        self.env.insert(key.to_owned(), value.map(str::to_owned));
        self
    }

    /// Adds a pair to `CNI_ARGS`.
    #[must_use]
    pub fn with_arg(mut self, key: &str, value: &str) -> Self {
        self.args.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds a capability argument.
    #[must_use]
    pub fn with_capability(mut self, key: &str, value: Value) -> Self {
        self.capability_args.insert(key.to_owned(), value);
        self
    }
}
