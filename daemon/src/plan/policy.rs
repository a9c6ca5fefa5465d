//! Restrictions on the networks of a pod.

use plexus_api::cni::{CniError, Code, PluginConfig};
use plexus_api::quote;

use super::input::{PlanInput, PlannedNetwork};
use super::network_names;
use crate::model::{attachment_label, meta_plugin_type};

/// Refuses the whole pod if any of its networks is not allowed (decision 6, K-012).
pub(super) fn check(input: &PlanInput, names: &[String]) -> Result<(), CniError> {
    for (planned, name) in input.networks().zip(names) {
        check_network(input, &planned)
            .map_err(|error| error.context(attachment_label(&planned.network.name, name)))?;
    }
    Ok(())
}

fn check_network(input: &PlanInput, planned: &PlannedNetwork<'_>) -> Result<(), CniError> {
    if let Some(kind) = meta_plugin_type(&planned.network.config) {
        let msg = format!(
            "its configuration has a plugin of type {kind:?}, which would call Plexus again"
        );
        return Err(CniError::new(Code::InvalidConfig, msg));
    }
    check_port_mappings(input, planned)?;
    // The administrator's own choices are not restricted.
    match &planned.network.namespace {
        Some(namespace) if planned.selection.is_some() => {
            check_namespace(input, planned, namespace)?;
            check_types(input, planned, namespace)?;
            network_names::check(input, planned, namespace)
        }
        _ => Ok(()),
    }
}

/// Ports of the node that the annotation opens. Pod security standards restrict only the ports in
/// the pod's own specification.
fn check_port_mappings(input: &PlanInput, planned: &PlannedNetwork<'_>) -> Result<(), CniError> {
    let namespace = &input.pod.namespace;
    let requested = planned
        .selection
        .is_some_and(|selection| !selection.port_mappings.is_empty());
    let allowed = &input.policy.port_mapping_namespaces;
    if !requested
        || allowed
            .as_ref()
            .is_none_or(|allowed| allowed.contains(namespace))
    {
        return Ok(());
    }
    let msg = format!(
        "pods of namespace {namespace:?} may not request portMappings; portMappingNamespaces lists the \
         namespaces whose pods may"
    );
    Err(CniError::new(Code::Forbidden, msg))
}

fn check_namespace(
    input: &PlanInput,
    planned: &PlannedNetwork<'_>,
    namespace: &str,
) -> Result<(), CniError> {
    let policy = &input.policy;
    let forbidden = |msg: String| Err(CniError::new(Code::Forbidden, msg));
    if policy.namespace_isolation
        && *namespace != input.pod.namespace
        && !policy.global_namespaces.contains(namespace)
    {
        return forbidden(format!(
            "namespace isolation is on: a pod of namespace {:?} may not use a definition of \
             namespace {namespace:?}; move the definition, or add its namespace to globalNamespaces",
            input.pod.namespace
        ));
    }
    if planned.default
        && policy
            .default_network_namespaces
            .as_ref()
            .is_some_and(|allowed| !allowed.contains(namespace))
    {
        return forbidden(format!(
            "definitions of namespace {namespace:?} may not replace the default network; \
             defaultNetworkNamespaces lists the namespaces whose definitions may"
        ));
    }
    Ok(())
}

fn check_types(
    input: &PlanInput,
    planned: &PlannedNetwork<'_>,
    namespace: &str,
) -> Result<(), CniError> {
    let Some(allowed) = &input.policy.allowed_plugin_types else {
        return Ok(());
    };
    let allowed = allowed.of(namespace);
    // All of them run as root on the node, whichever plugin starts them.
    let mut used = planned
        .network
        .config
        .plugins
        .iter()
        .flat_map(PluginConfig::types);
    let Some(kind) = used.find(|kind| !allowed.contains(kind)) else {
        return Ok(());
    };
    let allowed: Vec<_> = allowed.iter().map(String::as_str).collect();
    let msg = format!(
        "its plugin type {} is not among allowedPluginTypes ({})",
        quote(&kind),
        if allowed.is_empty() {
            "none for this namespace".to_owned()
        } else {
            allowed.join(", ")
        }
    );
    Err(CniError::new(Code::Forbidden, msg))
}
