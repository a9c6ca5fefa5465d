//! One attachment: capability arguments, `CNI_ARGS` and `args.cni` from what the pod asks for.

use std::collections::BTreeMap;

use plexus_api::cni::{CniArgs, CniError, Code, NetworkConfig, RawMap};
use plexus_api::selection::Selection;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::input::Part;
use super::{PlanInput, Warning, WarningKind};
use crate::model::Attachment;

/// Builds the attachment for `part`, to be called `ifname`.
pub(super) fn attachment(
    input: &PlanInput,
    ifname: String,
    part: &Part<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Attachment, CniError> {
    let mut config = part.network.config.clone();
    let mut cni_args = input.cni_args.clone();
    // The runtime's arguments are the default network's alone (K-064), all of them (K-065).
    let mut capability_args = if part.default {
        input.runtime_config.clone()
    } else {
        RawMap::new()
    };
    // Plugins refuse keys that they do not know unless told otherwise.
    if !matches!(cni_args.get("IgnoreUnknown"), Some("1" | "true" | "True")) {
        cni_args.set("IgnoreUnknown", "1");
    }
    if let Some(selection) = part.selection {
        if part.default && selection.interface.is_some() {
            let text = format!(
                "network {:?}: an interface name for the default network is ignored; it is {ifname:?}",
                part.network.name
            );
            warnings.push(Warning {
                kind: WarningKind::InterfaceNameIgnored,
                text,
            });
        }
        let asked = capabilities(selection)?;
        require_declared(input, part, &asked, warnings)?;
        pass_undeclared(selection, &config, &mut cni_args);
        capability_args.extend(asked);
        merge_cni_args(&mut config, &selection.cni_args, &part.network.name)?;
        set_device(&mut config, selection)?;
    }
    Ok(Attachment {
        network: part.network.name.clone(),
        ifname,
        default: part.default,
        cni_args: cni_args.to_string(),
        capability_args,
        config,
    })
}

/// What an element asks for, as capability arguments.
fn capabilities(selection: &Selection) -> Result<RawMap, CniError> {
    let mut asked = RawMap::new();
    let mut add = |key: &str, value: Option<Box<RawValue>>| {
        asked.extend(value.map(|value| (key.to_owned(), value)));
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
    add(
        "deviceID",
        selection.device_id.as_ref().map(raw).transpose()?,
    );
    Ok(asked)
}

/// A capability that no plugin of the chain declares cannot be delivered: an error under `strict`, else a warning
/// (decision 1; K-029, K-031, K-037, K-039, K-043).
fn require_declared(
    input: &PlanInput,
    part: &Part<'_>,
    asked: &RawMap,
    warnings: &mut Vec<Warning>,
) -> Result<(), CniError> {
    // A device is also delivered by keys of the configuration, so its capability is not required.
    let required = asked.keys().filter(|key| *key != "deviceID");
    for capability in required.filter(|capability| !part.network.config.declares(capability)) {
        let text = format!(
            "network {:?}: the pod asks for {capability:?}, but no plugin of the network declares the capability; add \
             \"capabilities\": {{\"{capability}\": true}} to the definition",
            part.network.name
        );
        if input.policy.strict {
            return Err(CniError::new(Code::InvalidConfig, text));
        }
        warnings.push(Warning {
            kind: WarningKind::CapabilityMissing,
            text,
        });
    }
    Ok(())
}

/// Addresses that no capability delivers go the way of old plugins, `MAC=` and `IP=` in `CNI_ARGS`. Never
/// both ways, so that they cannot contradict.
fn pass_undeclared(selection: &Selection, config: &NetworkConfig, cni_args: &mut CniArgs) {
    if let Some(mac) = selection.mac.as_ref().filter(|_| !config.declares("mac")) {
        cni_args.set("MAC", mac);
    }
    if !selection.ips.is_empty() && !config.declares("ips") {
        cni_args.set("IP", selection.ips.join(","));
    }
}

/// Merges `cni-args` over `args.cni` of every plugin; the pod wins per key, other keys of `args` stay (K-034).
fn merge_cni_args(
    config: &mut NetworkConfig,
    cni_args: &RawMap,
    network: &str,
) -> Result<(), CniError> {
    if cni_args.is_empty() {
        return Ok(());
    }
    let wrong = |key: &str| {
        let msg = format!(
            "network {network:?}: {key:?} of its configuration must be an object to take cni-args"
        );
        CniError::new(Code::InvalidConfig, msg)
    };
    for plugin in &mut config.plugins {
        let mut args = object(plugin.raw("args")).ok_or_else(|| wrong("args"))?;
        let mut cni =
            object(args.get("cni").map(AsRef::as_ref)).ok_or_else(|| wrong("args.cni"))?;
        cni.extend(cni_args.clone());
        args.insert("cni".to_owned(), raw(&cni)?);
        plugin.set("args", &args)?;
    }
    Ok(())
}

/// A device goes to the plugins by `deviceID` and `pciBusID` as well, which is where they look for it (D-031).
fn set_device(config: &mut NetworkConfig, selection: &Selection) -> Result<(), CniError> {
    if let Some(device) = &selection.device_id {
        for plugin in &mut config.plugins {
            plugin.set("deviceID", device)?;
            plugin.set("pciBusID", device)?;
        }
    }
    Ok(())
}

/// An object by key; absent and null are an empty one, anything else is none.
fn object(raw: Option<&RawValue>) -> Option<RawMap> {
    raw.map_or(Some(RawMap::new()), |raw| {
        serde_json::from_str::<Option<BTreeMap<_, _>>>(raw.get())
            .ok()
            .map(Option::unwrap_or_default)
    })
}

fn raw<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, CniError> {
    to_raw_value(value)
        .map_err(|error| CniError::new(Code::Internal, format!("cannot write JSON: {error}")))
}
