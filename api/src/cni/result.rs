//! The result of ADD, as specification 1.1.0 has it.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::net::IpAddr;

use super::{CniError, Version};

/// A result in the shape of 1.1.0, whatever version it was read from (T-001).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniResult {
    /// Interfaces, on the host and in the sandbox.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<Ip>,
    /// Routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Name resolution.
    #[serde(default, skip_serializing_if = "Dns::is_empty")]
    pub dns: Dns,
}

/// An interface that the plugin made or found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Its MTU, 0 where the plugin says none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mtu: u32,
    /// The sandbox that holds it; empty on the host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// The socket of a user-space interface.
    #[serde(default, rename = "socketPath", skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// The PCI address of its device.
    #[serde(default, rename = "pciID", skip_serializing_if = "String::is_empty")]
    pub pci_id: String,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// The address with its prefix length; host bits are kept (T-010).
    pub address: IpNet,
    /// Its gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The index in [`CniResult::interfaces`] of the interface that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination.
    pub dst: IpNet,
    /// The next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// The MTU along the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The maximal segment size to advertise.
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

/// Name resolution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Servers, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Search domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Route {
    /// Whether this is a default route: prefix length 0 (K-042).
    pub fn is_default(&self) -> bool {
        self.dst.prefix_len() == 0
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// What a plugin answered to ADD: the text as it stands, so that unknown keys pass (T-009), and what it means.
#[derive(Debug, Clone)]
pub struct PluginResult {
    version: Version,
    raw: Box<RawValue>,
    result: CniResult,
}

impl PluginResult {
    /// Reads the output of an ADD. Without a `cniVersion` it is taken to be in `config_version` (T-003); `{}` and
    /// `null` are empty results (T-004).
    ///
    /// # Errors
    /// [`super::Code::Decode`].
    pub fn parse(_text: &[u8], _config_version: Version) -> Result<Self, CniError> {
        todo!()
    }

    /// A result made by Plexus, in `version`.
    ///
    /// # Errors
    /// As [`PluginResult::to_version`].
    pub fn from_result(_result: CniResult, _version: Version) -> Result<Self, CniError> {
        todo!()
    }

    /// The version that it is in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// What it means.
    pub fn result(&self) -> &CniResult {
        &self.result
    }

    /// The text, with `cniVersion`.
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// The same in `version`: the text unchanged where that is its version (T-009), converted otherwise (T-002).
    ///
    /// # Errors
    /// [`super::Code::IncompatibleVersion`] where `version` cannot express it: no address for 0.1.0 and 0.2.0.
    pub fn to_version(&self, _version: Version) -> Result<Self, CniError> {
        todo!()
    }
}
