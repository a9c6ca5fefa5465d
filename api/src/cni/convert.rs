//! Conversion of results between versions, through the format of 1.1.0.
//!
//! There are three formats: 0.1.0 and 0.2.0 with one address per family; 0.3.0 to 0.4.0 with lists
//! of interfaces and addresses, where each address has a family; 1.0.0 and 1.1.0.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::result::{CniResult, Dns, Interface, Ip, ResultError, Route};
use super::{Version, de};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `ip4` and `ip6`.
    Families,
    /// `interfaces` and `ips`; each address has a `version`.
    Lists,
    /// The format of 1.1.0.
    Current,
}

fn format_of(version: Version) -> Format {
    match version {
        Version::V0_1_0 | Version::V0_2_0 => Format::Families,
        Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => Format::Lists,
        Version::V1_0_0 | Version::V1_1_0 => Format::Current,
    }
}

/// Whether results of both versions differ only in `cniVersion`.
pub(super) fn same_format(a: Version, b: Version) -> bool {
    format_of(a) == format_of(b)
}

/// Parses a result in the format of `version`. Null is an empty result.
pub(super) fn parse(text: &str, version: Version) -> Result<CniResult, serde_json::Error> {
    Ok(match format_of(version) {
        Format::Families => serde_json::from_str::<Option<Families>>(text)?
            .unwrap_or_default()
            .into(),
        // `version` of an address is redundant, so the parser of the current format reads `Lists`, too.
        Format::Lists | Format::Current => {
            serde_json::from_str::<Option<_>>(text)?.unwrap_or_default()
        }
    })
}

/// Serializes `result` in the format of `version`.
///
/// # Errors
/// [`ResultError::NoAddress`] if the version needs an address and the result has none.
pub(super) fn serialize(
    result: &CniResult,
    version: Version,
) -> Result<Box<RawValue>, ResultError> {
    match format_of(version) {
        Format::Families => document(version, &Families::from_result(result, version)?),
        Format::Lists => document(version, &Lists::from(result)),
        Format::Current => document(version, result),
    }
}

fn document<T: Serialize>(cni_version: Version, body: &T) -> Result<Box<RawValue>, ResultError> {
    #[derive(Serialize)]
    struct Document<'a, T> {
        #[serde(rename = "cniVersion")]
        cni_version: Version,
        #[serde(flatten)]
        body: &'a T,
    }
    to_raw_value(&Document { cni_version, body })
        .map_err(|error| ResultError::Write(error.to_string()))
}

/// The format of 0.1.0 and 0.2.0.
#[derive(Default, Serialize, Deserialize)]
struct Families {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip4: Option<IpConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip6: Option<IpConfig>,
    #[serde(default, deserialize_with = "de::null_as_default")]
    dns: Dns,
}

#[derive(Serialize, Deserialize)]
struct IpConfig {
    #[serde(deserialize_with = "de::cidr")]
    ip: IpNet,
    #[serde(
        default,
        deserialize_with = "de::address",
        skip_serializing_if = "Option::is_none"
    )]
    gateway: Option<IpAddr>,
    #[serde(
        default,
        deserialize_with = "de::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    routes: Vec<Route>,
}

impl Families {
    fn from_result(result: &CniResult, version: Version) -> Result<Self, ResultError> {
        let family = |is_ipv4: bool| {
            let ip = result
                .ips
                .iter()
                .find(|ip| ip.address.addr().is_ipv4() == is_ipv4)?;
            let routes = result
                .routes
                .iter()
                .filter(|route| route.dst.addr().is_ipv4() == is_ipv4)
                .map(|route| Route {
                    gw: route.gw,
                    ..Route::new(route.dst)
                })
                .collect();
            Some(IpConfig {
                ip: ip.address,
                gateway: ip.gateway,
                routes,
            })
        };
        let (ip4, ip6) = (family(true), family(false));
        if ip4.is_none() && ip6.is_none() {
            return Err(ResultError::NoAddress(version));
        }
        Ok(Self {
            ip4,
            ip6,
            dns: result.dns.clone(),
        })
    }
}

impl From<Families> for CniResult {
    fn from(families: Families) -> Self {
        let mut result = Self {
            dns: families.dns,
            ..Self::default()
        };
        for family in families.ip4.into_iter().chain(families.ip6) {
            result.ips.push(Ip {
                address: family.ip,
                gateway: family.gateway,
                interface: None,
            });
            result.routes.extend(family.routes);
        }
        result
    }
}

/// The format of 0.3.0, 0.3.1 and 0.4.0. `dns` is always present, as in other implementations.
#[derive(Serialize)]
struct Lists<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<Interface>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<ListedIp<'a>>,
    #[serde(skip_serializing_if = "<[Route]>::is_empty")]
    routes: &'a [Route],
    dns: &'a Dns,
}

#[derive(Serialize)]
struct ListedIp<'a> {
    version: &'static str,
    #[serde(flatten)]
    ip: &'a Ip,
}

impl<'a> From<&'a CniResult> for Lists<'a> {
    fn from(result: &'a CniResult) -> Self {
        let interfaces = result.interfaces.iter().map(|interface| Interface {
            name: interface.name.clone(),
            mac: interface.mac.clone(),
            sandbox: interface.sandbox.clone(),
            ..Interface::default()
        });
        let ips = result.ips.iter().map(|ip| {
            let version = if ip.address.addr().is_ipv4() {
                "4"
            } else {
                "6"
            };
            ListedIp { version, ip }
        });
        Self {
            interfaces: interfaces.collect(),
            ips: ips.collect(),
            routes: &result.routes,
            dns: &result.dns,
        }
    }
}
