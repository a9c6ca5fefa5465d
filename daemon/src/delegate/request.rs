//! Builds the stdin and the environment of one plugin. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use plexus_api::cni::{
    CniArgs, CniError, Code, NetworkConfig, PluginConfig, PluginResult, RawMap, Verb,
};
use plexus_api::json::{Object, keys_match};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{PluginCall, ValidAttachment};
use crate::model::Attachment;

/// The `PATH` of plugins if the caller has none. Plugins need it to run `iptables`, `nft` and
/// similar programs.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The keys that a command adds to the configuration of a plugin.
#[derive(Debug, Clone, Copy)]
pub(super) enum Payload<'a> {
    /// ADD, CHECK and DEL: capability arguments by capability, and `prevResult`.
    Attachment {
        capability_args: &'a RawMap,
        previous: Option<&'a PluginResult>,
    },
    /// STATUS: nothing.
    Status,
    /// GC: the attachments to keep.
    Gc(&'a [ValidAttachment]),
}

/// The configuration for `plugin` of `network`: the author's keys byte for byte, except
/// reserved keys, which a runtime sets (R-020…R-028).
pub(super) fn stdin(
    network: &NetworkConfig,
    plugin: &PluginConfig,
    payload: Payload<'_>,
) -> Result<Vec<u8>, CniError> {
    let mut reserved = vec![
        ("name", json(&network.name)?),
        ("cniVersion", json(&network.cni_version)?),
    ];
    match payload {
        Payload::Attachment {
            capability_args,
            previous,
        } => {
            let declared = plugin.capabilities();
            let args: BTreeMap<_, _> = capability_args
                .iter()
                .filter(|(key, _)| declared.contains(*key))
                .collect();
            if !args.is_empty() {
                reserved.push(("runtimeConfig", json(&args)?));
            }
            if let Some(previous) = previous {
                reserved.push(("prevResult", previous.raw().to_owned()));
            }
        }
        Payload::Status => {}
        Payload::Gc(valid) => {
            let valid = json(valid)?;
            reserved.extend([
                ("cni.dev/valid-attachments", valid.clone()),
                ("cni.dev/attachments", valid),
            ]);
        }
    }
    let mut config: BTreeMap<&str, &RawValue> = BTreeMap::new();
    config.extend(
        plugin
            .as_map()
            .iter()
            .filter(|(key, _)| !is_reserved(key))
            .map(|(key, raw)| (key.as_str(), &**raw)),
    );
    config.extend(reserved.iter().map(|(key, raw)| (*key, &**raw)));
    serde_json::to_vec(&config).map_err(not_serializable)
}

/// Whether only a runtime may set `key`. Ignores case: most plugins use Go's JSON decoder, which
/// reads `PrevResult` as `prevResult`.
fn is_reserved(key: &str) -> bool {
    [
        "name",
        "cniVersion",
        "capabilities",
        "runtimeConfig",
        "prevResult",
    ]
    .iter()
    .any(|reserved| keys_match(reserved, key))
        || key
            .as_bytes()
            .get(..8)
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"cni.dev/"))
}

/// The environment for `plugin`: the caller's environment, as if the caller had executed the plugin
/// itself (R-105, decision 30), with the `CNI_*` variables replaced. `attachment` is `None`
/// for STATUS and GC, which have no container.
pub(super) fn environment(
    call: &PluginCall,
    verb: Verb,
    attachment: Option<&Attachment>,
    plugin: &PluginConfig,
    dirs: &[PathBuf],
) -> BTreeMap<String, String> {
    let mut env: BTreeMap<_, _> = call
        .env
        .iter()
        .filter(|(key, value)| is_passed_on(key, value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    env.entry("PATH".to_owned())
        .or_insert_with(|| DEFAULT_PATH.to_owned());
    let dirs: Vec<_> = dirs.iter().map(|dir| Path::to_string_lossy(dir)).collect();
    let mut set = |key: &str, value: &str| drop(env.insert(key.to_owned(), value.to_owned()));
    set("CNI_COMMAND", verb.as_str());
    set("CNI_PATH", &dirs.join(":"));
    if let Some(attachment) = attachment {
        set("CNI_CONTAINERID", &call.container_id);
        set("CNI_NETNS", call.netns.as_deref().unwrap_or_default());
        set("CNI_IFNAME", &attachment.ifname);
        set(
            "CNI_ARGS",
            &without_conflicting_ip(&attachment.cni_args, plugin),
        );
    }
    env
}

/// Whether plugins get this variable of the caller. Those that [`environment`] sets, and those of
/// the shim, are not passed on.
fn is_passed_on(key: &str, value: &str) -> bool {
    const OWN: [&str; 6] = [
        "CNI_COMMAND",
        "CNI_CONTAINERID",
        "CNI_NETNS",
        "CNI_IFNAME",
        "CNI_ARGS",
        "CNI_PATH",
    ];
    // execve cannot pass other variables.
    let valid = !key.is_empty() && !key.contains(['=', '\0']) && !value.contains('\0');
    valid && !OWN.contains(&key) && !key.starts_with("PLEXUS_")
}

/// `CNI_ARGS`, unchanged except that `IP` is removed if it conflicts with `args.cni.ips` of
/// the configuration, which takes precedence.
fn without_conflicting_ip(cni_args: &str, plugin: &PluginConfig) -> String {
    let args = CniArgs::parse_lossy(cni_args);
    let configured = configured_ips(plugin).unwrap_or_default();
    let preferred: BTreeSet<_> = configured.iter().map(|ip| address(ip)).collect();
    let legacy: BTreeSet<_> = args
        .get("IP")
        .into_iter()
        .flat_map(|ips| ips.split(','))
        .map(address)
        .collect();
    if preferred.is_empty() || legacy.is_subset(&preferred) {
        return cni_args.to_owned();
    }
    cni_args
        .split(';')
        .filter(|item| !item.starts_with("IP="))
        .collect::<Vec<_>>()
        .join(";")
}

/// `args.cni.ips`. Returns `None` if there is no list of strings.
fn configured_ips(plugin: &PluginConfig) -> Option<Vec<String>> {
    let cni: Object = plugin.get::<Object>("args")?.get("cni").ok()??;
    cni.get("ips").ok()?
}

/// The address without its prefix length, or the text if it is not an address.
fn address(text: &str) -> Result<IpAddr, &str> {
    text.split('/')
        .next()
        .unwrap_or(text)
        .trim()
        .parse()
        .map_err(|_| text)
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, CniError> {
    to_raw_value(value).map_err(not_serializable)
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the signature that map_err needs"
)]
fn not_serializable(error: serde_json::Error) -> CniError {
    CniError::new(
        Code::Internal,
        format!("cannot serialize the configuration for a plugin: {error}"),
    )
}
