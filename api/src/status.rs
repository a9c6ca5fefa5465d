//! The network-status annotation (multi-network specification 1.3, section 5).

use std::borrow::Borrow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::cni::Dns;

/// The annotation that lists a pod's attachments.
pub const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// One entry of the annotation. The keys, their order, and the omission of empty values match
/// Multus.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// `namespace/name` of the definition, or the name of a network on disk.
    pub name: String,
    /// The interface in the pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// The addresses, without prefix length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// The hardware address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// The MTU, if the plugin reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether this is the pod's default network. True for exactly one entry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// The DNS settings, present even if empty.
    #[serde(default)]
    pub dns: Dns,
    /// The content of the device-information file.
    #[serde(
        default,
        rename = "device-info",
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub device_info: Option<Box<RawValue>>,
    /// The gateways of the default routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateway: Vec<String>,
}

/// A value of a key that is present. `null` is a value, too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

/// The annotation's value in the layout of Multus: a list of entries indented by four spaces, with
/// no line break between entries.
///
/// Returns `None` if the value has more than `max` bytes. `entries` is not read further then.
pub fn render(
    entries: impl IntoIterator<Item: Borrow<NetworkStatus>>,
    max: usize,
) -> Option<String> {
    let mut text = String::from("[");
    for entry in entries {
        if text.len() > 1 {
            text.push(',');
        }
        // Strings, numbers and valid JSON can always be serialized.
        let entry = serde_json::to_string(entry.borrow()).unwrap_or_default();
        indent(&entry, &mut text);
        if text.len() >= max {
            return None;
        }
    }
    text.push(']');
    Some(text)
}

/// Appends `json` with four spaces per level. Unlike the pretty printer of `serde_json`, this also
/// indents raw values, which keep the white space of their file.
fn indent(json: &str, out: &mut String) {
    let (mut depth, mut in_string, mut escaped, mut opened) = (0_usize, false, false, false);
    let break_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", depth));
    };
    for c in json.chars() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        if c.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(c, '}' | ']');
        if closes {
            depth = depth.saturating_sub(1);
        }
        // An empty object or list stays on one line.
        if opened != closes {
            break_line(out, depth);
        }
        opened = matches!(c, '{' | '[');
        out.push(c);
        match c {
            '{' | '[' => depth += 1,
            ',' => break_line(out, depth),
            ':' => out.push(' '),
            '"' => in_string = true,
            _ => {}
        }
    }
}
