//! The result of ADD, as specification 1.1.0 has it.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::config::RawMap;
use super::{CniError, Code, Version, convert, lenient};
use crate::json::{MAX_RESULT, check_limits};

/// A result in the shape of 1.1.0, whatever version it was read from (T-001).
///
/// What Go writes for nothing is read as nothing: `null`, and an empty string for a gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniResult {
    /// Interfaces, on the host and in the sandbox.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub interfaces: Vec<Interface>,
    /// Addresses.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ips: Vec<Ip>,
    /// Routes.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub routes: Vec<Route>,
    /// Name resolution.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Dns::is_empty"
    )]
    pub dns: Dns,
}

/// An interface that the plugin made or found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    #[serde(default, deserialize_with = "lenient::null")]
    pub name: String,
    /// Its hardware address.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "String::is_empty"
    )]
    pub mac: String,
    /// Its MTU, 0 where the plugin says none.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "is_zero"
    )]
    pub mtu: u32,
    /// The sandbox that holds it; empty on the host.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "String::is_empty"
    )]
    pub sandbox: String,
    /// The socket of a user-space interface.
    #[serde(
        default,
        rename = "socketPath",
        deserialize_with = "lenient::null",
        skip_serializing_if = "String::is_empty"
    )]
    pub socket_path: String,
    /// The PCI address of its device.
    #[serde(
        default,
        rename = "pciID",
        deserialize_with = "lenient::null",
        skip_serializing_if = "String::is_empty"
    )]
    pub pci_id: String,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// The address with its prefix length; host bits are kept, and an IPv4-mapped one is IPv4 (T-010).
    #[serde(deserialize_with = "lenient::cidr")]
    pub address: IpNet,
    /// Its gateway.
    #[serde(
        default,
        deserialize_with = "lenient::address",
        skip_serializing_if = "Option::is_none"
    )]
    pub gateway: Option<IpAddr>,
    /// The index in [`CniResult::interfaces`] of the interface that has it; -1 is read as none (T-007).
    #[serde(
        default,
        deserialize_with = "lenient::index",
        skip_serializing_if = "Option::is_none"
    )]
    pub interface: Option<usize>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination.
    #[serde(deserialize_with = "lenient::cidr")]
    pub dst: IpNet,
    /// The next hop.
    #[serde(
        default,
        deserialize_with = "lenient::address",
        skip_serializing_if = "Option::is_none"
    )]
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
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "String::is_empty"
    )]
    pub domain: String,
    /// Search domains.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Route {
    /// A route to `dst`, with nothing else said.
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

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl CniResult {
    /// Forgets indexes that name no interface: a runtime may use them unchecked (T-008).
    fn forget_unknown_interfaces(&mut self) {
        let count = self.interfaces.len();
        for ip in &mut self.ips {
            ip.interface = ip.interface.filter(|index| *index < count);
        }
    }
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
    /// [`Code::Decode`] where it is no result, nothing at all (T-005), too large or too deep (T-012);
    /// [`Code::IncompatibleVersion`] where it is in a version that is not supported.
    pub fn parse(text: &[u8], config_version: Version) -> Result<Self, CniError> {
        check_limits(text, MAX_RESULT)?;
        if text.trim_ascii().is_empty() {
            return Err(CniError::new(
                Code::Decode,
                "it succeeded but printed no result",
            ));
        }
        let text = std::str::from_utf8(text).map_err(unreadable)?;
        let mut map = serde_json::from_str::<Option<RawMap>>(text)
            .map_err(unreadable)?
            .unwrap_or_default();
        require_case(&map, &["cniVersion", "interfaces", "ips"])?;
        let stated = match map.get("cniVersion") {
            Some(raw) => serde_json::from_str::<Option<String>>(raw.get())
                .map_err(unreadable)?
                .unwrap_or_default(),
            None => String::new(),
        };
        let version = if stated.is_empty() {
            config_version
        } else {
            supported(&stated)?
        };
        let mut result = convert::read(text, version).map_err(unreadable)?;
        result.forget_unknown_interfaces();
        let mut changed = remove_indexes(&mut map, &result.ips)?;
        if stated.is_empty() {
            map.insert("cniVersion".to_owned(), json(&version)?);
            changed = true;
        }
        // Old writers print an empty `dns`; from 1.0.0 on it is left out (T-011).
        if version >= Version::V1_0_0 && result.dns.is_empty() {
            changed |= map.remove("dns").is_some();
        }
        let raw = if changed {
            json(&map)?
        } else {
            RawValue::from_string(text.to_owned()).map_err(unreadable)?
        };
        Ok(Self {
            version,
            raw,
            result,
        })
    }

    /// A result made by Plexus, in `version`.
    ///
    /// # Errors
    /// As [`PluginResult::to_version`].
    pub fn from_result(mut result: CniResult, version: Version) -> Result<Self, CniError> {
        result.forget_unknown_interfaces();
        let raw = convert::print(&result, version)?;
        // What an old version cannot express is gone; the meaning is that of the text.
        let result = convert::read(raw.get(), version).map_err(unreadable)?;
        Ok(Self {
            version,
            raw,
            result,
        })
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

    /// The same in `version`: the text unchanged where that is its version (T-009), only another `cniVersion` where
    /// the two versions have one shape, converted otherwise (T-002).
    ///
    /// # Errors
    /// [`Code::IncompatibleVersion`] where `version` cannot express it: no address for 0.1.0 and 0.2.0.
    pub fn to_version(&self, version: Version) -> Result<Self, CniError> {
        if version == self.version {
            return Ok(self.clone());
        }
        if !convert::same_shape(version, self.version) {
            return Self::from_result(self.result.clone(), version);
        }
        let mut map: RawMap = serde_json::from_str(self.raw.get()).map_err(unreadable)?;
        map.insert("cniVersion".to_owned(), json(&version)?);
        Ok(Self {
            version,
            raw: json(&map)?,
            result: self.result.clone(),
        })
    }
}

/// Removes the `interface` keys that the meaning of the result does not have (T-007, T-008). Says whether there were any.
fn remove_indexes(map: &mut RawMap, ips: &[Ip]) -> Result<bool, CniError> {
    let Some(raw) = map.get("ips") else {
        return Ok(false);
    };
    let mut elements = serde_json::from_str::<Option<Vec<RawMap>>>(raw.get())
        .map_err(unreadable)?
        .unwrap_or_default();
    let mut removed = false;
    // By position and not pairwise: 0.1.0 and 0.2.0 do not know `ips`, so that nothing there means an index.
    for (position, element) in elements.iter_mut().enumerate() {
        require_case(element, &["interface"])?;
        let known = ips.get(position).is_some_and(|ip| ip.interface.is_some());
        removed |= !known && element.remove("interface").is_some();
    }
    if removed {
        map.insert("ips".to_owned(), json(&elements)?);
    }
    Ok(removed)
}

/// Refuses `known` keys that are written in another case. Go's decoder takes them, ours does not: what passes as an
/// unknown key here would be an unchecked index there (T-008).
fn require_case(map: &RawMap, known: &[&str]) -> Result<(), CniError> {
    for key in known {
        if let Some(wrong) = map
            .keys()
            .find(|other| *other != key && other.eq_ignore_ascii_case(key))
        {
            return Err(unreadable(format!("key {wrong:?} must be written {key:?}")));
        }
    }
    Ok(())
}

fn supported(version: &str) -> Result<Version, CniError> {
    Version::exact(version).ok_or_else(|| {
        let known = Version::ALL.map(Version::as_str).join(", ");
        let msg = format!("the result is in cniVersion {version:?}, which is not supported");
        CniError::new(Code::IncompatibleVersion, msg).with_details(format!("supported are {known}"))
    })
}

fn unreadable(why: impl fmt::Display) -> CniError {
    CniError::new(Code::Decode, format!("the result cannot be read: {why}"))
}

fn json<T: Serialize>(value: &T) -> Result<Box<RawValue>, CniError> {
    to_raw_value(value).map_err(unreadable)
}
