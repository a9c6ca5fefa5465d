//! The result of ADD in the format of specification 1.1.0.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{CniError, Code, UnsupportedVersion, Version, de};
use crate::json::LimitError;

/// A result in the format of 1.1.0, whichever version the plugin used (T-001).
///
/// Like Go's decoder, this accepts null for any missing value, and an empty string for a missing
/// gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniResult {
    /// The interfaces on the host and in the sandbox.
    #[serde(
        default,
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub interfaces: Vec<Interface>,
    /// The addresses of the interfaces.
    #[serde(
        default,
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ips: Vec<Ip>,
    /// The routes in the sandbox.
    #[serde(
        default,
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub routes: Vec<Route>,
    /// The DNS settings.
    #[serde(
        default,
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "Dns::is_empty"
    )]
    pub dns: Dns,
}

/// An interface that the plugin created or found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The interface's name.
    #[serde(default, deserialize_with = "de::null_as_default")]
    pub name: String,
    /// The hardware address.
    #[serde(
        default,
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub mac: String,
    /// The MTU; 0 if the plugin reports none.
    #[serde(
        default,
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "is_zero"
    )]
    pub mtu: u32,
    /// The path of the sandbox's network namespace; empty for an interface on the host.
    #[serde(
        default,
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub sandbox: String,
    /// The socket of a user-space interface.
    #[serde(
        default,
        rename = "socketPath",
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub socket_path: String,
    /// The PCI address of the device.
    #[serde(
        default,
        rename = "pciID",
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub pci_id: String,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// The address with its prefix length. Host bits are kept, and an IPv4-mapped IPv6 address is
    /// read as IPv4 (T-010).
    #[serde(deserialize_with = "de::cidr")]
    pub address: IpNet,
    /// The default gateway of the subnet.
    #[serde(
        default,
        deserialize_with = "de::address",
        skip_serializing_if = "Option::is_none"
    )]
    pub gateway: Option<IpAddr>,
    /// The interface's index in [`CniResult::interfaces`]; -1 is read as `None` (T-007).
    #[serde(
        default,
        deserialize_with = "de::index",
        skip_serializing_if = "Option::is_none"
    )]
    pub interface: Option<usize>,
}

/// A route in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination.
    #[serde(deserialize_with = "de::cidr")]
    pub dst: IpNet,
    /// The next hop.
    #[serde(
        default,
        deserialize_with = "de::address",
        skip_serializing_if = "Option::is_none"
    )]
    pub gw: Option<IpAddr>,
    /// The MTU along the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The advertised maximum segment size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// The metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The routing table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u32>,
}

/// DNS settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// The servers, in order of preference.
    #[serde(
        default,
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(
        default,
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub domain: String,
    /// The search domains.
    #[serde(
        default,
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub search: Vec<String>,
    /// The resolver options.
    #[serde(
        default,
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether no setting is present.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Route {
    /// A route to `dst` without a gateway or attributes.
    pub fn new(dst: IpNet) -> Self {
        Self {
            dst,
            gw: None,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        }
    }

    /// Whether this is a default route: prefix length 0 (K-042).
    pub fn is_default(&self) -> bool {
        self.dst.prefix_len() == 0
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl CniResult {
    /// Removes interface indexes that are out of range: a runtime may use them unchecked (T-008).
    pub(super) fn remove_invalid_indexes(&mut self) {
        let count = self.interfaces.len();
        for ip in &mut self.ips {
            ip.interface = ip.interface.filter(|index| *index < count);
        }
    }
}

/// A result that cannot be read, written or converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// The plugin's output is empty (T-005).
    #[error("no result on stdout")]
    Empty,
    /// The output is too long or too deep (T-012).
    #[error("the result is too large: {0}")]
    Limit(#[from] LimitError),
    /// The output is not a result.
    #[error("the result cannot be read: {0}")]
    Invalid(String),
    /// Plexus does not support the version of the result.
    #[error("the result is invalid: {0}")]
    Version(#[from] UnsupportedVersion),
    /// This version needs an address, and the result has none (T-002).
    #[error("a result without an IP address cannot be expressed in cniVersion {0}")]
    NoAddress(Version),
    /// The result could not be serialized.
    #[error("the result cannot be written as JSON: {0}")]
    Write(String),
}

impl From<ResultError> for CniError {
    fn from(error: ResultError) -> Self {
        let msg = error.to_string();
        match error {
            ResultError::Empty | ResultError::Limit(_) | ResultError::Invalid(_) => {
                Self::new(Code::Decode, msg)
            }
            ResultError::Version(error) => Self {
                msg,
                ..error.into()
            },
            ResultError::NoAddress(_) => Self::new(Code::IncompatibleVersion, msg),
            ResultError::Write(_) => Self::new(Code::Internal, msg),
        }
    }
}
