//! The selection annotation: which networks a pod asks for (multi-network specification 1.3, section 4).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cni::RawMap;

mod element;
mod object;
mod short;
mod syntax;

/// The annotation with the networks of a pod.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// The annotation that replaces the default network of a pod.
pub const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";
/// The capability by which a runtime passes the annotations of a pod with its call (decision 5).
pub const POD_ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// One element of the annotation, checked.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The definition's name.
    pub name: String,
    /// The definition's namespace; the pod's own where the element names none.
    pub namespace: String,
    /// The interface name asked for.
    pub interface: Option<String>,
    /// `ips`, verbatim.
    pub ips: Vec<String>,
    /// `mac`.
    pub mac: Option<String>,
    /// `infiniband-guid`.
    pub infiniband_guid: Option<String>,
    /// `portMappings`, with the protocol in lower case and filled in (K-036).
    pub port_mappings: Vec<PortMapping>,
    /// `bandwidth`, with bursts filled in (K-038).
    pub bandwidth: Option<Bandwidth>,
    /// `cni-args`.
    pub cni_args: RawMap,
    /// `default-route`: absent, or a list of gateways that may be empty.
    pub default_route: Option<Vec<IpAddr>>,
    /// `deviceID`, for a device that kubelet did not allocate (K-045).
    pub device_id: Option<String>,
}

/// A port of the host that is forwarded, as the capability `portMappings` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// On the host.
    pub host_port: u16,
    /// In the pod.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The host's address; empty means any.
    #[serde(rename = "hostIP", default, skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
}

/// Limits, as the capability `bandwidth` has them: bits and bits per second, 0 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bandwidth {
    /// Into the pod.
    pub ingress_rate: u64,
    /// Into the pod, at once.
    pub ingress_burst: u64,
    /// Out of the pod.
    pub egress_rate: u64,
    /// Out of the pod, at once.
    pub egress_burst: u64,
}

/// Why an annotation cannot be used: the element, the key, and the offending text (K-046).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct SelectionError {
    /// Where: `element 2, key "mac"`, or the offending item of the short form.
    pub place: String,
    /// What is wrong, with the offending text and what is allowed.
    pub why: String,
}

impl SelectionError {
    fn new(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            why: why.into(),
        }
    }
}

/// Reads the annotation's value; elements without a namespace get `default_namespace`. Empty text and `[]` are no
/// elements.
///
/// Both forms are read (K-020): a JSON list, where the text has any of `[`, `{`, `"`, and else the short form, items
/// `[namespace/]name[@interface]` separated by commas. What works with Multus works here: keys match whatever their
/// case, unknown ones are ignored, `null` and an empty string count as not given.
///
/// What concerns several elements, as interface names that clash, is left to who plans them.
///
/// # Errors
/// The first element that is wrong.
pub fn parse(annotation: &str, default_namespace: &str) -> Result<Vec<Selection>, SelectionError> {
    if annotation.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut selections = if annotation.contains(['[', '{', '"']) {
        element::list(annotation)?
    } else {
        short::list(annotation)?
    };
    for selection in selections
        .iter_mut()
        .filter(|selection| selection.namespace.is_empty())
    {
        default_namespace.clone_into(&mut selection.namespace);
    }
    Ok(selections)
}
