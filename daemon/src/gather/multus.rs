//! What Multus left on this node of a sandbox that it attached: its list of delegates, and the results that libcni kept
//! for it. A pod that started under Multus can be checked and deleted with what it was added with.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plexus_api::cni::{CniArgs, Defaults, NetworkConfig, RawMap, Version, validate_ifname};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::Attachment;

/// The largest file of Multus that is read, in bytes.
const MAX_FILE: u64 = 8 << 20;

/// The attachments of a sandbox in the order of their ADD, each with its result where there is one, and the files that
/// said so.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// The attachments.
    pub(crate) attachments: Vec<(Attachment, Option<Box<RawValue>>)>,
    /// The path of the sandbox's namespace at ADD; empty where no result has it.
    pub(crate) netns: String,
    /// What is to be removed once all of it is deleted.
    pub(crate) files: Vec<PathBuf>,
}

/// One element of `CNI_DIR/CONTAINER`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delegate {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "ifnameRequest")]
    ifname: String,
    #[serde(default)]
    bytes: String,
    #[serde(default, rename = "CNINetworkConfigList")]
    list: Option<List>,
}

/// What versions 4.2.1 to 4.3.0 wrote besides, which lacks nothing.
#[derive(Deserialize)]
struct List {
    #[serde(default, rename = "Bytes")]
    bytes: Option<String>,
}

/// libcni's `cniCacheV1`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cached {
    #[serde(default)]
    netns: String,
    #[serde(default)]
    config: String,
    #[serde(default)]
    cni_args: Option<Vec<(String, String)>>,
    #[serde(default)]
    capability_args: Option<RawMap>,
    #[serde(default)]
    result: Option<Box<RawValue>>,
}

/// Reads what Multus has in `cni_dir` of a container whose interface of the runtime is `ifname`; `cni_args` are for
/// attachments without a result. None where it has nothing, or nothing that can be read. Blocking.
pub(crate) fn remembered(
    cni_dir: &Path,
    container_id: &str,
    ifname: &str,
    cni_args: &CniArgs,
) -> Option<Remembered> {
    let path = cni_dir.join(container_id);
    let delegates: Vec<Delegate> = serde_json::from_slice(&read(&path)?)
        .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "what Multus remembers cannot be read"))
        .ok()?;
    let mut remembered = Remembered::default();
    for (index, delegate) in delegates.into_iter().enumerate() {
        let requested = Some(delegate.ifname.clone()).filter(|name| validate_ifname(name).is_ok());
        let ifname = requested.unwrap_or_else(|| {
            if index == 0 {
                ifname.to_owned()
            } else {
                format!("net{index}")
            }
        });
        let stored = delegate
            .list
            .and_then(|list| list.bytes)
            .unwrap_or(delegate.bytes);
        let Some(mut config) = decode(&stored) else {
            tracing::warn!(path = %path.display(), index, "a network that Multus remembers cannot be read");
            continue;
        };
        let result = cni_dir
            .join("results")
            .join(format!("{}-{container_id}-{ifname}", config.name));
        let cached = read(&result).and_then(|bytes| serde_json::from_slice::<Cached>(&bytes).ok());
        let (mut args, mut capability_args, mut added) =
            (cni_args.to_string(), RawMap::new(), None);
        if let Some(cached) = cached {
            // The configuration as it was executed; that of the list lacks keys in some versions.
            config = decode(&cached.config).unwrap_or(config);
            if let Some(pairs) = cached.cni_args {
                args = pairs
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect::<Vec<_>>()
                    .join(";");
            }
            capability_args = cached.capability_args.unwrap_or_default();
            added = cached.result;
            remembered.netns = cached.netns;
            remembered.files.push(result);
        }
        let network = if delegate.name.is_empty() {
            config.name.clone()
        } else {
            delegate.name
        };
        let attachment = Attachment {
            network,
            ifname,
            default: index == 0,
            cni_args: args,
            capability_args,
            config,
        };
        remembered.attachments.push((attachment, added));
    }
    // The list goes last: while it is there, a DEL that was interrupted begins again.
    remembered.files.push(path);
    Some(remembered).filter(|remembered| !remembered.attachments.is_empty())
}

fn decode(base64: &str) -> Option<NetworkConfig> {
    let text = String::from_utf8(STANDARD.decode(base64).ok()?).ok()?;
    let defaults = Defaults {
        name: None,
        version: Version::V0_1_0,
    };
    NetworkConfig::parse(&text, defaults)
        .and_then(NetworkConfig::require_plugin)
        .ok()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let meta = fs::symlink_metadata(path).ok()?;
    if meta.is_file() && meta.len() <= MAX_FILE {
        fs::read(path).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
