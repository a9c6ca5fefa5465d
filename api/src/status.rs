//! The network-status annotation (multi-network specification 1.3, section 5).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cni::Dns;

/// The annotation that tells what a pod is attached to.
pub const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// One entry of the annotation; the keys, their order and which are omitted are what Multus writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// `namespace/name` of the definition, or the name of a network on disk.
    pub name: String,
    /// The interface in the pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Addresses without prefix length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// The hardware address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// The MTU, where the plugin told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether this is the pod's default network; exactly one entry is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Name resolution; always printed.
    #[serde(default)]
    pub dns: Dns,
    /// The device, as its device-information file has it.
    #[serde(
        default,
        rename = "device-info",
        skip_serializing_if = "Option::is_none"
    )]
    pub device_info: Option<Box<RawValue>>,
    /// Gateways of the default routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateway: Vec<String>,
}

/// The annotation's value: a list in the layout that Multus writes, each entry indented by four spaces, the entries
/// joined without a line break. No entries are `[]`.
pub fn render(entries: &[NetworkStatus]) -> String {
    let mut text = String::from("[");
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        // Strings, numbers and JSON that was read before: there is nothing that could not be written.
        indent(&serde_json::to_string(entry).unwrap_or_default(), &mut text);
    }
    text.push(']');
    text
}

/// Appends `json` with four spaces a level. Unlike the printer of `serde_json` it reaches into raw values, which keep
/// the white space of the file that they come from.
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
        // An empty object or list stays on its line.
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
