//! The protocol of the daemon's Unix socket: `POST /cni`, which the shim sends, and `POST /delegate`
//! for programs that change the networks of running pods. The JSON is that of Multus' thick plugin,
//! so that Multus' shim and other clients can call the daemon.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The largest request, in bytes. A configuration contains the pod's annotations, up to 256 KiB,
/// which grow by a factor of six if escaped and by another third in base64.
pub const MAX_REQUEST: usize = 4 << 20;
/// The largest number of JSON values of a request, most of which are variables of the caller's
/// environment. A parsed value takes far more memory than its text.
pub const MAX_REQUEST_VALUES: usize = 4 << 10;

/// The file name of the daemon's socket.
pub const SOCKET_NAME: &str = "plexus.sock";
/// The file name of Multus' socket, for clients that expect it.
pub const MULTUS_SOCKET_NAME: &str = "multus.sock";
/// The default directory of the socket.
pub const SOCKET_DIR: &str = "/run/plexus";
/// The default state directory, which contains the ledger and the spool.
pub const STATE_DIR: &str = "/var/lib/plexus";
/// The subdirectory of the state directory where the shim stores DELs while the daemon is
/// unavailable.
pub const SPOOL_DIR: &str = "spool";
/// The subdirectory of the state directory with the records of attachments.
pub const LEDGER_DIR: &str = "ledger";
/// The file in the state directory that marks Plexus as uninstalled from the node (decision 11).
pub const UNINSTALLED: &str = "uninstalled";

/// A CNI call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The caller's environment, including the `CNI_*` variables.
    pub env: BTreeMap<String, String>,
    /// The configuration from stdin, unchanged; base64 in JSON.
    #[serde(
        serialize_with = "to_base64",
        deserialize_with = "from_base64",
        default
    )]
    pub config: Vec<u8>,
    /// When the shim stored a spooled request. `None` if the request was not spooled, or the
    /// shim did not record the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Moment>,
}

/// A request of `/delegate`: a network of a running pod.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DelegateRequest {
    /// The `CNI_*` variables.
    pub env: BTreeMap<String, String>,
    /// The configuration of the network, a single plugin or a list; base64 in JSON.
    #[serde(deserialize_with = "from_base64", default)]
    pub config: Vec<u8>,
    /// What the pod requests for the interface; see
    /// [`from_attributes`](crate::selection::from_attributes).
    #[serde(default)]
    pub interface_attributes: Option<Box<RawValue>>,
}

/// A point in time on this machine, independent of the wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    /// The kernel's ID of the boot.
    pub boot_id: String,
    /// Nanoseconds since the boot (`CLOCK_BOOTTIME`).
    pub boottime_ns: u64,
}

/// The response to a successful ADD. Other verbs have an empty response.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Response {
    /// The result in version 1.1.0; the shim converts it to the runtime's version.
    #[serde(rename = "Result")]
    pub result: Box<RawValue>,
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Base64;

    impl<'de> Visitor<'de> for Base64 {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string in base64")
        }

        // Go encodes a missing byte slice as null.
        fn visit_none<E>(self) -> Result<Vec<u8>, E> {
            Ok(Vec::new())
        }

        fn visit_some<D: Deserializer<'de>>(self, text: D) -> Result<Vec<u8>, D::Error> {
            text.deserialize_str(self)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
            STANDARD.decode(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_option(Base64)
}
