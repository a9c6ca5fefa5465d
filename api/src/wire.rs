//! The wire between shim and daemon: `POST /cni` over a Unix socket, with the JSON of Multus' thick plugin, so that
//! its shim and its clients can call the daemon.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The largest request, in bytes. A configuration carries the pod's annotations, up to 256 KiB of them, which grow
/// sixfold where they are escaped and by a third in base64.
pub const MAX_REQUEST: usize = 4 << 20;

/// The file name of the daemon's socket in its directory.
pub const SOCKET_NAME: &str = "plexus.sock";
/// The file name of the socket at which clients of Multus look for its daemon.
pub const MULTUS_SOCKET_NAME: &str = "multus.sock";
/// Where the directory of ours is unless the configuration says otherwise.
pub const SOCKET_DIR: &str = "/run/plexus";
/// Where the ledger and the spool are unless the configuration says otherwise.
pub const STATE_DIR: &str = "/var/lib/plexus";
/// The directory in the state directory where the shim leaves a DEL for a daemon that is away.
pub const SPOOL_DIR: &str = "spool";
/// The directory in the state directory that has a file for each sandbox that is attached.
pub const LEDGER_DIR: &str = "ledger";
/// The file in the state directory that says to the shim that nothing is left on this node (decision 11).
pub const UNINSTALLED: &str = "uninstalled";

/// One call: the caller's environment and what was on its stdin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The caller's environment, the `CNI_*` variables among it.
    pub env: BTreeMap<String, String>,
    /// The configuration, byte for byte; base64 on the wire.
    #[serde(
        serialize_with = "to_base64",
        deserialize_with = "from_base64",
        default
    )]
    pub config: Vec<u8>,
    /// In the spool: when the shim left it there. Older shims did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Moment>,
}

/// An instant of this machine, by a clock that nobody sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    /// The kernel's id of the boot.
    pub boot_id: String,
    /// Nanoseconds since that boot, by `CLOCK_BOOTTIME`.
    pub boottime_ns: u64,
}

/// The answer to a successful ADD; other verbs answer with an empty body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Response {
    /// The result, always in version 1.1.0; the caller converts it to its own.
    #[serde(rename = "Result")]
    pub result: Box<RawValue>,
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    // Go writes an absent byte slice as null.
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}
