//! The elements of a pod's annotation, without their values, which may be secret.

use plexus_api::selection::{NETWORKS, Selection, parse};
use serde::Serialize;

use crate::model::Pod;

/// An element of an annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Asked {
    /// `namespace/name`.
    pub(super) network: String,
    /// The name of the interface, if the element has one.
    pub(super) interface: Option<String>,
    /// The other keys of the element.
    pub(super) keys: Vec<String>,
}

/// The elements of the annotation of a pod.
///
/// # Errors
/// Why the annotation is invalid.
pub(super) fn of_pod(pod: &Pod) -> Result<Vec<Asked>, String> {
    Ok(elements(pod)?.iter().map(Asked::from).collect())
}

/// The elements of the annotation of a pod.
///
/// # Errors
/// Why the annotation is invalid.
pub(super) fn elements(pod: &Pod) -> Result<Vec<Selection>, String> {
    let text = pod.annotations.get(NETWORKS);
    let elements = text.map(|text| parse(text, &pod.namespace));
    let elements = elements.transpose().map_err(|error| error.to_string())?;
    Ok(elements.unwrap_or_default())
}

impl From<&Selection> for Asked {
    fn from(selection: &Selection) -> Self {
        let keys = [
            ("ips", !selection.ips.is_empty()),
            ("mac", selection.mac.is_some()),
            ("infiniband-guid", selection.infiniband_guid.is_some()),
            ("portMappings", !selection.port_mappings.is_empty()),
            ("bandwidth", selection.bandwidth.is_some()),
            ("cni-args", !selection.cni_args.is_empty()),
            ("default-route", selection.default_route.is_some()),
            ("deviceID", selection.device_id.is_some()),
        ];
        let keys = keys.into_iter().filter(|(_, is_set)| *is_set);
        Self {
            network: format!("{}/{}", selection.namespace, selection.name),
            interface: selection.interface.clone(),
            keys: keys.map(|(key, _)| key.to_owned()).collect(),
        }
    }
}
