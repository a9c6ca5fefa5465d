//! Multus' cache of a sandbox: its list of delegates, and the results that libcni cached for them.
//! They allow CHECK and DEL of a pod that Multus attached.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plexus_api::cni::{CniArgs, Defaults, NetworkConfig, Version, validate_ifname};
use plexus_api::json::RawMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::device_info::attachment_file;
use crate::model::Attachment;
use crate::regular_file;

/// The largest file that is read, in bytes.
const MAX_FILE_SIZE: u64 = 8 << 20;

/// The attachments of a sandbox that Multus attached.
#[derive(Debug, Default)]
pub(crate) struct MultusSandbox {
    /// The attachments in the order of their ADD, each with its cached result.
    pub(crate) attachments: Vec<(Attachment, Option<Box<RawValue>>)>,
    /// `CNI_NETNS` of the ADD; empty if no result has it.
    pub(crate) netns: String,
    /// The files of the cache, to be removed after all attachments are deleted.
    pub(crate) files: Vec<PathBuf>,
}

/// An element of the file `CNI_DIR/CONTAINER`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MultusDelegate {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "ifnameRequest")]
    ifname: String,
    #[serde(default, rename = "deviceID")]
    device_id: String,
    #[serde(default)]
    bytes: String,
    #[serde(default, rename = "CNINetworkConfigList")]
    list: Option<MultusDelegateList>,
}

/// The complete configuration, which versions 4.2.1 to 4.3.0 write in addition to an incomplete
/// one.
#[derive(Deserialize)]
struct MultusDelegateList {
    #[serde(default, rename = "Bytes")]
    bytes: Option<String>,
}

/// `cniCacheV1` of libcni.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CachedResult {
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

/// Reads Multus' cache in `cni_dir` of a container. `ifname` is the runtime's interface name, and
/// `cni_args` are for attachments without a cached result. Returns `None` if there is no usable
/// cache. Blocking.
pub(crate) fn read_sandbox(
    cni_dir: &Path,
    container_id: &str,
    ifname: &str,
    cni_args: &CniArgs,
) -> Option<MultusSandbox> {
    let path = cni_dir.join(container_id);
    let delegates: Vec<MultusDelegate> = serde_json::from_slice(&read(&path)?)
        .inspect_err(
            |error| tracing::warn!(path = %path.display(), %error, "cannot read Multus' cache"),
        )
        .ok()?;
    let mut sandbox = MultusSandbox::default();
    for (index, delegate) in delegates.into_iter().enumerate() {
        let ifname = delegate.ifname(index, ifname);
        let Some(config) = delegate.config() else {
            tracing::warn!(path = %path.display(), index, "cannot read a network in Multus' cache");
            continue;
        };
        let file = cni_dir
            .join("results")
            .join(format!("{}-{container_id}-{ifname}", config.name));
        // Multus makes the file only for a device.
        let device_info_file = (!delegate.device_id.is_empty())
            .then(|| attachment_file(&delegate.name, container_id, &ifname));
        let network = if delegate.name.is_empty() {
            config.name.clone()
        } else {
            delegate.name
        };
        let attachment = Attachment {
            default: index == 0,
            device_info_file,
            selected: index > 0,
            cni_args: cni_args.to_string(),
            ..Attachment::new(network, ifname, config)
        };
        sandbox.add(attachment, file);
    }
    // The list is removed last: while it exists, an interrupted DEL can be repeated.
    sandbox.files.push(path);
    Some(sandbox).filter(|sandbox| !sandbox.attachments.is_empty())
}

impl MultusDelegate {
    fn ifname(&self, index: usize, runtime_ifname: &str) -> String {
        if validate_ifname(&self.ifname).is_ok() {
            self.ifname.clone()
        } else if index == 0 {
            runtime_ifname.to_owned()
        } else {
            format!("net{index}")
        }
    }

    fn config(&self) -> Option<NetworkConfig> {
        let complete = self.list.as_ref().and_then(|list| list.bytes.as_ref());
        decode(complete.unwrap_or(&self.bytes))
    }
}

impl MultusSandbox {
    /// Adds an attachment, completed with its result in `file` if there is one.
    fn add(&mut self, mut attachment: Attachment, file: PathBuf) {
        let cached = read(&file).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(cached): Option<CachedResult> = cached else {
            self.attachments.push((attachment, None));
            return;
        };
        // The executed configuration. In some versions, the list's configuration lacks keys.
        if let Some(config) = decode(&cached.config) {
            attachment.config = config.into();
        }
        if let Some(pairs) = cached.cni_args {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            attachment.cni_args = pairs.join(";");
        }
        let mut capability_args = cached.capability_args.unwrap_or_default();
        // Multus passes all annotations of the pod, secrets among them, but DEL needs only the
        // arguments that a plugin gets.
        capability_args.retain(|capability, _| attachment.config.declares(capability));
        attachment.capability_args = capability_args;
        self.attachments.push((attachment, cached.result));
        self.netns = cached.netns;
        self.files.push(file);
    }
}

/// A configuration in base64.
fn decode(base64: &str) -> Option<NetworkConfig> {
    let text = STANDARD.decode(base64).ok()?;
    let defaults = Defaults {
        name: None,
        version: Version::V0_1_0,
    };
    NetworkConfig::parse(&text, defaults)
        .and_then(NetworkConfig::require_plugin)
        .ok()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    // A link in the cache is not Multus' own.
    path.symlink_metadata().ok().filter(Metadata::is_file)?;
    regular_file::read(path, MAX_FILE_SIZE).ok()
}

#[cfg(test)]
mod tests;
