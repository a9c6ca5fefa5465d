//! What the node's configuration allows a pod to ask for.

use std::collections::BTreeSet;

use plexus_api::cni::{CniError, Code, NetworkConfig};

use super::PlanInput;
use super::input::Part;
use crate::model::{place, refers_to_us};

/// Refuses what is not allowed, for the whole pod (decision 6, K-012).
pub(super) fn check(input: &PlanInput, names: &[String]) -> Result<(), CniError> {
    for (part, name) in input.parts().zip(names) {
        check_part(input, &part).map_err(|error| error.context(place(&part.network.name, name)))?;
    }
    Ok(())
}

fn check_part(input: &PlanInput, part: &Part<'_>) -> Result<(), CniError> {
    if let Some(kind) = refers_to_us(&part.network.config) {
        let msg = format!(
            "its configuration names a plugin of type {kind:?}, which would wait for itself"
        );
        return Err(CniError::new(Code::InvalidConfig, msg));
    }
    // What the administrator put on the node's disk needs no leave.
    match &part.network.namespace {
        Some(namespace) if part.selection.is_some() => {
            check_namespace(input, part, namespace)?;
            check_types(input, part)
        }
        _ => Ok(()),
    }
}

fn check_namespace(input: &PlanInput, part: &Part<'_>, namespace: &str) -> Result<(), CniError> {
    let policy = &input.policy;
    let forbidden = |why: String| Err(CniError::new(Code::Forbidden, why));
    if policy.namespace_isolation
        && *namespace != input.pod.namespace
        && !policy.global_namespaces.contains(namespace)
    {
        return forbidden(format!(
            "namespace isolation is on, and a pod of namespace {:?} may not use a definition of {namespace:?}; move \
             it, or add its namespace to globalNamespaces",
            input.pod.namespace
        ));
    }
    if part.default
        && policy
            .default_network_namespaces
            .as_ref()
            .is_some_and(|allowed| !allowed.contains(namespace))
    {
        return forbidden(format!(
            "definitions of namespace {namespace:?} may not replace the default network; defaultNetworkNamespaces \
             lists those that may"
        ));
    }
    Ok(())
}

fn check_types(input: &PlanInput, part: &Part<'_>) -> Result<(), CniError> {
    let Some(allowed) = &input.policy.allowed_plugin_types else {
        return Ok(());
    };
    let used = plugin_types(&part.network.config);
    let Some(kind) = used.difference(allowed).next() else {
        return Ok(());
    };
    let allowed: Vec<_> = allowed.iter().map(String::as_str).collect();
    let msg = format!(
        "its plugin type {kind:?} is not among allowedPluginTypes ({})",
        allowed.join(", ")
    );
    Err(CniError::new(Code::Forbidden, msg))
}

/// The plugin types of a network, those of its IPAM included: both are executed as root on the node.
fn plugin_types(config: &NetworkConfig) -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    for plugin in &config.plugins {
        types.insert(plugin.kind());
        let ipam: Option<serde_json::Value> = plugin.get("ipam");
        if let Some(kind) = ipam
            .as_ref()
            .and_then(|ipam| ipam.get("type"))
            .and_then(|kind| kind.as_str())
        {
            types.insert(kind.to_owned());
        }
    }
    types
}
