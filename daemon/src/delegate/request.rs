//! What one plugin of a network gets on a verb: its stdin and its environment. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use plexus_api::cni::{
    CniArgs, CniError, Code, NetworkConfig, PluginConfig, PluginResult, RawMap, Verb,
};
use plexus_api::json::keys_match;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{PluginCall, ValidAttachment};
use crate::model::Attachment;

/// Where plugins find `iptables`, `nft` and the like when the caller does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a verb adds to the configuration of a plugin.
#[derive(Debug, Clone, Copy)]
pub(super) enum Payload<'a> {
    /// ADD, CHECK and DEL: capability arguments by capability, and the result before.
    Attachment {
        capability_args: &'a RawMap,
        previous: Option<&'a PluginResult>,
    },
    /// STATUS: nothing.
    Status,
    /// GC: what is to be kept.
    Gc(&'a [ValidAttachment]),
}

/// The configuration for `plugin` of `network`: the author's keys to the letter, less the reserved ones, and
/// those that are a runtime's to set (R-020…R-028).
///
/// # Errors
/// [`Code::Internal`]: JSON that could be read cannot be written.
pub(super) fn stdin(
    network: &NetworkConfig,
    plugin: &PluginConfig,
    payload: Payload<'_>,
) -> Result<Vec<u8>, CniError> {
    let mut own = vec![
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
                own.push(("runtimeConfig", json(&args)?));
            }
            if let Some(previous) = previous {
                own.push(("prevResult", previous.raw().to_owned()));
            }
        }
        Payload::Status => {}
        Payload::Gc(valid) => {
            let valid = json(valid)?;
            own.extend([
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
    config.extend(own.iter().map(|(key, raw)| (*key, &**raw)));
    serde_json::to_vec(&config).map_err(unwritable)
}

/// Whether `key` is a runtime's to set, whatever the author wrote. In any case: Go's decoder, which most plugins use,
/// takes `PrevResult` for `prevResult`.
fn is_reserved(key: &str) -> bool {
    [
        "name",
        "cniVersion",
        "capabilities",
        "runtimeConfig",
        "prevResult",
    ]
    .iter()
    .any(|own| keys_match(own, key))
        || key
            .as_bytes()
            .get(..8)
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"cni.dev/"))
}

/// The environment for `plugin`: what the caller had, and the `CNI_*` variables. `attachment` is absent
/// for STATUS and GC, which belong to no container.
pub(super) fn environment(
    call: &PluginCall,
    verb: Verb,
    attachment: Option<&Attachment>,
    plugin: &PluginConfig,
    dirs: &[PathBuf],
) -> BTreeMap<String, String> {
    let passed = call
        .env
        .iter()
        .filter(|(key, _)| is_passed(key))
        .map(|(key, value)| (key.clone(), value.clone()));
    let mut env: BTreeMap<String, String> = passed.collect();
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
            &without_contradiction(&attachment.cni_args, plugin),
        );
    }
    env
}

/// Whether a variable of the caller is for its plugins: not what is set here, not what the caller's service manager
/// told the caller alone, nothing that changes what the loader loads, and not the settings of our own shim.
fn is_passed(key: &str) -> bool {
    const OWN: [&str; 6] = [
        "CNI_COMMAND",
        "CNI_CONTAINERID",
        "CNI_NETNS",
        "CNI_IFNAME",
        "CNI_ARGS",
        "CNI_PATH",
    ];
    const SERVICE: [&str; 5] = [
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "JOURNAL_STREAM",
        "INVOCATION_ID",
    ];
    const PREFIXES: [&str; 3] = ["LISTEN_", "LD_", "PLEXUS_"];
    // The last two cannot be in an environment at all.
    let possible = !key.is_empty() && !key.contains(['=', '\0']);
    possible
        && !OWN.contains(&key)
        && !SERVICE.contains(&key)
        && !PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// `CNI_ARGS` without an `IP` that says otherwise than `args.cni.ips` of the configuration, which a plugin has to
/// prefer; else as they are, to the letter.
fn without_contradiction(cni_args: &str, plugin: &PluginConfig) -> String {
    let args = CniArgs::parse_lossy(cni_args);
    let preferred = plugin
        .get::<Args>("args")
        .map(|args| args.cni.ips)
        .unwrap_or_default();
    let preferred: BTreeSet<_> = preferred.iter().map(|ip| address(ip)).collect();
    let legacy: BTreeSet<_> = args
        .get("IP")
        .into_iter()
        .flat_map(|ips| ips.split(','))
        .map(address)
        .collect();
    if preferred.is_empty() || legacy.is_subset(&preferred) {
        return cni_args.to_owned();
    }
    let kept: Vec<_> = cni_args
        .split(';')
        .filter(|item| !item.starts_with("IP="))
        .collect();
    kept.join(";")
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Args {
    cni: ArgsCni,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct ArgsCni {
    ips: Vec<String>,
}

/// An address without its prefix length, or the text where it is none.
fn address(text: &str) -> Result<IpAddr, &str> {
    text.split('/')
        .next()
        .unwrap_or(text)
        .trim()
        .parse()
        .map_err(|_| text)
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, CniError> {
    to_raw_value(value).map_err(unwritable)
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn unwritable(error: serde_json::Error) -> CniError {
    CniError::new(
        Code::Internal,
        format!("the request to a plugin cannot be written: {error}"),
    )
}
