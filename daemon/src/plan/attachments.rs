//! Builds attachments: capability arguments, `CNI_ARGS` and `args.cni` from the pod's request.

use std::sync::Arc;

use plexus_api::cni::{CniArgs, CniError, Code, NetworkConfig, PluginConfig};
use plexus_api::json::{Object, RawMap};
use plexus_api::selection::Selection;
use ring::digest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};

use super::devices::{DEVICE_KEYS, DeviceCursor};
use super::input::{PlanInput, PlannedNetwork};
use super::warning::{Warning, WarningKind};
use crate::device_info;
use crate::model::{Attachment, Origin};

/// The attachment of a network, with the interface `ifname`.
pub(super) fn attachment<'a>(
    input: &PlanInput,
    ifname: String,
    planned: &PlannedNetwork<'a>,
    devices: &mut DeviceCursor<'a>,
    warnings: &mut Vec<Warning>,
) -> Result<Attachment, CniError> {
    let mut config = Arc::clone(&planned.network.config);
    let declared = config.capabilities();
    let mut cni_args = input.cni_args.clone();
    // Of the runtime's arguments, the default network gets those that it declares (K-065), and the
    // others none (K-064). The rest may be the annotations of the pod, secrets among them.
    let runtime_config = input.runtime_config.iter().filter(|_| planned.default);
    let mut capability_args: RawMap = runtime_config
        .filter(|(capability, _)| declared.contains(*capability))
        .map(|(capability, value)| (capability.clone(), value.clone()))
        .collect();
    // Without IgnoreUnknown, plugins refuse keys that they do not know.
    if !matches!(cni_args.get("IgnoreUnknown"), Some("1" | "true" | "True")) {
        cni_args.set("IgnoreUnknown", "1");
    }
    if let Some(selection) = planned.selection {
        if planned.default && selection.interface.is_some() {
            let text = format!(
                "network {:?}: the requested interface name is ignored; the default network has {ifname:?}",
                planned.network.name
            );
            warnings.push(Warning {
                kind: WarningKind::InterfaceNameIgnored,
                text,
            });
        }
        let requested = capabilities(selection)?;
        check_declared(input, planned, &requested, warnings)?;
        add_undeclared(selection, &config, &mut cni_args);
        let declared = requested
            .into_iter()
            .filter(|(capability, _)| declared.contains(capability));
        capability_args.extend(declared);
        merge_cni_args(&mut config, &selection.cni_args, &planned.network.name)?;
    }
    let device_id = devices.next(planned, warnings)?;
    if let Some(device) = &device_id {
        set_device(&mut config, device)?;
        if config.declares("deviceID") {
            capability_args.insert("deviceID".to_owned(), raw(device)?);
        }
    }
    let uses_device_info = config.declares(device_info::CAPABILITY);
    let has_device = planned.network.resource_name.is_some() && device_id.is_some();
    let device_info_file = (uses_device_info || has_device)
        .then(|| device_info::attachment_file(&planned.network.name, &input.container_id, &ifname));
    if uses_device_info && let Some(file) = &device_info_file {
        capability_args.insert(device_info::CAPABILITY.to_owned(), raw(file)?);
    }
    Ok(Attachment {
        network: planned.network.name.clone(),
        ifname,
        default: planned.default,
        auxiliary: planned.auxiliary,
        selected: planned.selection.is_some(),
        interface_requested: planned
            .selection
            .is_some_and(|selection| selection.interface.is_some()),
        parameters_digest: planned.selection.and_then(parameters_digest),
        origin: Origin::Add,
        resource_name: planned.network.resource_name.clone(),
        device_id,
        device_info_file,
        cni_args: cni_args.to_string(),
        capability_args,
        config,
    })
}

/// See [`Attachment::parameters_digest`].
pub(super) fn parameters_digest(selection: &Selection) -> Option<u64> {
    let parameters = selection.parameters().ok()?;
    let digest = digest::digest(&digest::SHA256, &parameters);
    // Enough to notice a change.
    let (start, _) = digest.as_ref().split_first_chunk()?;
    Some(u64::from_be_bytes(*start))
}

/// The request of an element as capability arguments.
fn capabilities(selection: &Selection) -> Result<RawMap, CniError> {
    let mut requested = RawMap::new();
    let mut add = |key: &str, value: Option<Box<RawValue>>| {
        requested.extend(value.map(|value| (key.to_owned(), value)));
    };
    add(
        "ips",
        (!selection.ips.is_empty())
            .then(|| raw(&selection.ips))
            .transpose()?,
    );
    add("mac", selection.mac.as_ref().map(raw).transpose()?);
    add(
        "infinibandGUID",
        selection.infiniband_guid.as_ref().map(raw).transpose()?,
    );
    add(
        "portMappings",
        (!selection.port_mappings.is_empty())
            .then(|| raw(&selection.port_mappings))
            .transpose()?,
    );
    add(
        "bandwidth",
        selection.bandwidth.as_ref().map(raw).transpose()?,
    );
    Ok(requested)
}

/// Checks that a plugin declares each requested capability: no other plugin gets the argument. A
/// missing declaration is an error with `strict`, otherwise a warning (decision 1; K-029, K-031,
/// K-037, K-039, K-043).
fn check_declared(
    input: &PlanInput,
    planned: &PlannedNetwork<'_>,
    requested: &RawMap,
    warnings: &mut Vec<Warning>,
) -> Result<(), CniError> {
    let config = &planned.network.config;
    if config.plugins.iter().any(reads_annotation) {
        return Ok(());
    }
    for capability in requested
        .keys()
        .filter(|capability| !config.declares(capability))
    {
        let strict = input.policy.strict;
        let consequence = match capability.as_str() {
            _ if strict => "",
            "ips" => {
                ", so the addresses were passed as IP in CNI_ARGS, which not every plugin reads"
            }
            "mac" => ", so the address was passed as MAC in CNI_ARGS, which not every plugin reads",
            _ => ", so the pod runs without it",
        };
        let text = format!(
            "network {:?}: the pod requests {capability:?}, but no plugin of the network declares that \
             capability{consequence}; add \"capabilities\": {{\"{capability}\": true}} \
             next to the \"type\" of the plugin that supports it",
            planned.network.name
        );
        if strict {
            return Err(CniError::new(Code::InvalidConfig, text));
        }
        warnings.push(Warning {
            kind: WarningKind::CapabilityMissing,
            text,
        });
    }
    Ok(())
}

/// Whether the plugin reads the pod's annotation itself, as OVN-Kubernetes does (decision 1).
fn reads_annotation(plugin: &PluginConfig) -> bool {
    plugin.kind() == "ovn-k8s-cni-overlay"
}

/// Passes addresses without a declared capability as older plugins expect them: `MAC=` and `IP=` in
/// `CNI_ARGS`. Never both, so that they cannot contradict each other.
fn add_undeclared(selection: &Selection, config: &NetworkConfig, cni_args: &mut CniArgs) {
    if let Some(mac) = selection.mac.as_ref().filter(|_| !config.declares("mac")) {
        cni_args.set("MAC", mac);
    }
    if !selection.ips.is_empty() && !config.declares("ips") {
        cni_args.set("IP", selection.ips.join(","));
    }
}

/// Merges `cni-args` into `args.cni` of every plugin. For each key the pod's value wins; other keys
/// of `args` stay (K-034).
fn merge_cni_args(
    config: &mut Arc<NetworkConfig>,
    cni_args: &RawMap,
    network: &str,
) -> Result<(), CniError> {
    if cni_args.is_empty() {
        return Ok(());
    }
    let invalid = |key: &str| {
        let msg = format!(
            "network {network:?}: {key:?} in its configuration must be an object, because the pod has cni-args"
        );
        CniError::new(Code::InvalidConfig, msg)
    };
    for plugin in &mut Arc::make_mut(config).plugins {
        let mut args: Object = object(plugin.raw("args")).ok_or_else(|| invalid("args"))?;
        let mut cni: RawMap = object(args.raw("cni")).ok_or_else(|| invalid("args.cni"))?;
        cni.extend(cni_args.clone());
        args.insert("cni", raw(&cni)?);
        plugin.set("args", &args)?;
    }
    Ok(())
}

/// Passes the device to the plugins in `deviceID` and `pciBusID`, where they expect it (D-031).
fn set_device(config: &mut Arc<NetworkConfig>, device: &str) -> Result<(), CniError> {
    for plugin in &mut Arc::make_mut(config).plugins {
        for key in DEVICE_KEYS {
            plugin.set(key, device)?;
        }
    }
    Ok(())
}

/// The object in `raw`, or an empty one if `raw` is missing. Returns `None` for any other value.
fn object<T: DeserializeOwned + Default>(raw: Option<&RawValue>) -> Option<T> {
    raw.map_or(Some(T::default()), |raw| {
        serde_json::from_str(raw.get()).ok()
    })
}

fn raw<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, CniError> {
    to_raw_value(value)
        .map_err(|error| CniError::new(Code::Internal, format!("cannot write JSON: {error}")))
}
