//! The selection annotation: the networks that a pod requests (multi-network specification 1.3,
//! section 4).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::json::{RawMap, ValuePath};

mod json_form;
mod reader;
mod short_form;
mod syntax;

pub use syntax::is_hardware_address;

/// The annotation that lists the networks a pod requests.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// The annotation that replaces a pod's default network.
pub const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";
/// The capability through which a runtime passes the pod's annotations with a call (decision 5).
pub const POD_ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";
/// The longest annotation that is accepted, in bytes: the API server's limit for all annotations of
/// an object.
pub const MAX_ANNOTATION: usize = 256 << 10;
/// The largest number of elements of an annotation. The plugins of a pod run one after the other,
/// and runtimes limit the time for a pod.
pub const MAX_ELEMENTS: usize = 64;

/// The keys of an element in the JSON form. Other keys are ignored.
pub const ELEMENT_KEYS: [&str; 13] = [
    "name",
    "namespace",
    "interface",
    "interfaceRequest",
    "ips",
    "mac",
    "infiniband-guid",
    "portMappings",
    "bandwidth",
    "cni-args",
    "default-route",
    "deviceID",
    "ipam-claim-reference",
];

/// One element of the annotation, validated.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The definition's name.
    pub name: String,
    /// The definition's namespace; the pod's namespace if the element has none.
    pub namespace: String,
    /// The requested interface name.
    pub interface: Option<String>,
    /// `ips`, as written.
    pub ips: Vec<String>,
    /// `mac`.
    pub mac: Option<String>,
    /// `infiniband-guid`.
    pub infiniband_guid: Option<String>,
    /// `portMappings`. The protocol is in lower case and has a default (K-036).
    pub port_mappings: Vec<PortMapping>,
    /// `bandwidth`. Bursts have a default (K-038).
    pub bandwidth: Option<Bandwidth>,
    /// `cni-args`.
    pub cni_args: RawMap,
    /// `default-route`: a list of gateways, possibly empty.
    pub default_route: Option<Vec<IpAddr>>,
    /// `deviceID`: a device that kubelet did not allocate (K-045).
    pub device_id: Option<String>,
}

impl Selection {
    /// What the element asks for beside the network and the name of the interface, as JSON. Equal for
    /// elements that ask for the same.
    ///
    /// # Errors
    /// None in practice: the values come from JSON.
    pub fn parameters(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&(
            (&self.ips, &self.mac, &self.infiniband_guid),
            (&self.port_mappings, &self.bandwidth, &self.cni_args),
            (&self.default_route, &self.device_id),
        ))
    }

    /// The size of the values that the element adds to the configuration of each plugin, in bytes.
    pub fn size(&self) -> usize {
        let cni_args = self.cni_args.iter();
        cni_args
            .map(|(key, raw)| key.len() + raw.get().len())
            .sum::<usize>()
            + self.device_id.as_ref().map_or(0, String::len)
    }
}

/// A forwarded port of the host, in the format of the capability `portMappings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// The port on the host.
    pub host_port: u16,
    /// The port in the pod.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The host's address; empty for any address.
    #[serde(rename = "hostIP", default, skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
}

/// Bandwidth limits in the format of the capability `bandwidth`. 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bandwidth {
    /// Traffic into the pod, in bits per second.
    pub ingress_rate: u64,
    /// The largest burst into the pod, in bits.
    pub ingress_burst: u64,
    /// Traffic out of the pod, in bits per second.
    pub egress_rate: u64,
    /// The largest burst out of the pod, in bits.
    pub egress_burst: u64,
}

/// An invalid annotation (K-046).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {reason}")]
pub struct SelectionError {
    /// The invalid part: `element 2, key "mac"`, or an item of the short form.
    pub location: String,
    /// The reason, with the offending text and the allowed form.
    pub reason: String,
    /// The place of the invalid part: an element, and a key if the annotation has the JSON form.
    /// Empty if the error is about the annotation as a whole.
    pub path: ValuePath,
}

impl SelectionError {
    /// An error about the annotation as a whole.
    fn whole(reason: impl Into<String>) -> Self {
        Self {
            location: "annotation".to_owned(),
            reason: reason.into(),
            path: ValuePath::default(),
        }
    }

    /// An error about a value in the JSON form.
    fn at(path: ValuePath, reason: impl Into<String>) -> Self {
        Self {
            location: path.to_string(),
            reason: reason.into(),
            path,
        }
    }
}

/// Refuses an annotation of `count` elements if that is too many.
fn check_count(count: usize) -> Result<(), SelectionError> {
    if count <= MAX_ELEMENTS {
        return Ok(());
    }
    let reason = format!("lists {count} networks, but a pod may have {MAX_ELEMENTS}; select fewer");
    Err(SelectionError::whole(reason))
}

/// Parses the `interfaceAttributes` of a request of `/delegate`: an object with `ips`, `mac` and
/// `cni-args`, with the same values as in the annotation. Other keys are ignored. The selection has
/// no name.
///
/// # Errors
/// The first invalid value.
pub fn from_attributes(attributes: &RawValue) -> Result<Selection, SelectionError> {
    json_form::attributes(attributes)
}

/// Parses the annotation. Elements without a namespace get `default_namespace`.
///
/// The annotation is a JSON list if it contains `[`, `{` or `"`, else it has the short form: items
/// `[namespace/]name[@interface]`, separated by commas (K-020). Annotations that work with Multus
/// work here: keys match in any case, unknown keys are ignored, and null and empty strings count as
/// missing.
///
/// Conflicts between elements, such as duplicate interface names, are not detected here. The size
/// of the annotation and the number of its elements are checked before any element is read
/// (decision 37).
///
/// # Errors
/// [`MAX_ANNOTATION`] or [`MAX_ELEMENTS`] is exceeded; otherwise the first invalid element.
pub fn parse(annotation: &str, default_namespace: &str) -> Result<Vec<Selection>, SelectionError> {
    elements(annotation, default_namespace, Claims::WithoutIps)
}

/// Parses the annotation with this key, [`NETWORKS`] or [`DEFAULT_NETWORK`]. In the latter, an element
/// may have both `ips` and `ipam-claim-reference`: with OVN-Kubernetes, a virtual machine that keeps
/// its addresses may choose them as well.
///
/// # Errors
/// As [`parse`].
pub fn parse_annotation(
    key: &str,
    annotation: &str,
    default_namespace: &str,
) -> Result<Vec<Selection>, SelectionError> {
    let claims = match key {
        DEFAULT_NETWORK => Claims::WithIps,
        _ => Claims::WithoutIps,
    };
    elements(annotation, default_namespace, claims)
}

/// Whether an element with `ipam-claim-reference` may have `ips` (K-044).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claims {
    WithoutIps,
    WithIps,
}

fn elements(
    annotation: &str,
    default_namespace: &str,
    claims: Claims,
) -> Result<Vec<Selection>, SelectionError> {
    if annotation.trim().is_empty() {
        return Ok(Vec::new());
    }
    if annotation.len() > MAX_ANNOTATION {
        let reason = format!(
            "is {} bytes long, but may have {MAX_ANNOTATION}",
            annotation.len()
        );
        return Err(SelectionError::whole(reason));
    }
    let mut selections = if annotation.contains(['[', '{', '"']) {
        json_form::parse(annotation, claims)?
    } else {
        short_form::parse(annotation)?
    };
    for selection in selections
        .iter_mut()
        .filter(|selection| selection.namespace.is_empty())
    {
        default_namespace.clone_into(&mut selection.namespace);
    }
    Ok(selections)
}
