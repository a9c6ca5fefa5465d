//! Conversion of results between the versions, by way of the shape of 1.1.0.
//!
//! There are three shapes: 0.1.0 and 0.2.0 with one address a family; 0.3.0 to 0.4.0 with interfaces and lists, where
//! an address says its family; 1.0.0 and 1.1.0.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::result::{CniResult, Dns, Interface, Ip, Route};
use super::{CniError, Code, Version, lenient};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `ip4` and `ip6`.
    Families,
    /// `interfaces` and `ips`, an address with its `version`.
    Lists,
    /// As 1.1.0 has it.
    Current,
}

fn shape(version: Version) -> Shape {
    match version {
        Version::V0_1_0 | Version::V0_2_0 => Shape::Families,
        Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => Shape::Lists,
        Version::V1_0_0 | Version::V1_1_0 => Shape::Current,
    }
}

/// Whether results of both versions look the same but for their `cniVersion`.
pub(super) fn same_shape(a: Version, b: Version) -> bool {
    shape(a) == shape(b)
}

/// Reads a result that is in `version`; `null` is an empty one.
pub(super) fn read(text: &str, version: Version) -> Result<CniResult, serde_json::Error> {
    Ok(match shape(version) {
        Shape::Families => serde_json::from_str::<Option<Families>>(text)?
            .unwrap_or_default()
            .into(),
        // The family of an address follows from it, so that the current shape reads the lists too.
        Shape::Lists | Shape::Current => {
            serde_json::from_str::<Option<_>>(text)?.unwrap_or_default()
        }
    })
}

/// Prints `result` in `version`.
///
/// # Errors
/// [`Code::IncompatibleVersion`] where that version needs an address and there is none.
pub(super) fn print(result: &CniResult, version: Version) -> Result<Box<RawValue>, CniError> {
    match shape(version) {
        Shape::Families => document(version, &Families::from_result(result, version)?),
        Shape::Lists => document(version, &Lists::from(result)),
        Shape::Current => document(version, result),
    }
}

fn document<T: Serialize>(cni_version: Version, body: &T) -> Result<Box<RawValue>, CniError> {
    #[derive(Serialize)]
    struct Document<'a, T> {
        #[serde(rename = "cniVersion")]
        cni_version: Version,
        #[serde(flatten)]
        body: &'a T,
    }
    to_raw_value(&Document { cni_version, body }).map_err(|error| {
        CniError::new(
            Code::Internal,
            format!("a result cannot be written: {error}"),
        )
    })
}

/// The shape of 0.1.0 and 0.2.0.
#[derive(Default, Serialize, Deserialize)]
struct Families {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip4: Option<Family>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip6: Option<Family>,
    #[serde(default, deserialize_with = "lenient::null")]
    dns: Dns,
}

#[derive(Serialize, Deserialize)]
struct Family {
    #[serde(deserialize_with = "lenient::cidr")]
    ip: IpNet,
    #[serde(
        default,
        deserialize_with = "lenient::address",
        skip_serializing_if = "Option::is_none"
    )]
    gateway: Option<IpAddr>,
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    routes: Vec<Route>,
}

impl Families {
    fn from_result(result: &CniResult, version: Version) -> Result<Self, CniError> {
        let family = |is_ipv4: bool| {
            let ip = result
                .ips
                .iter()
                .find(|ip| ip.address.addr().is_ipv4() == is_ipv4)?;
            let routes = result
                .routes
                .iter()
                .filter(|route| route.dst.addr().is_ipv4() == is_ipv4);
            let routes = routes
                .map(|route| Route {
                    gw: route.gw,
                    ..Route::new(route.dst)
                })
                .collect();
            Some(Family {
                ip: ip.address,
                gateway: ip.gateway,
                routes,
            })
        };
        let (ip4, ip6) = (family(true), family(false));
        if ip4.is_none() && ip6.is_none() {
            let msg = format!(
                "a result without an IP address cannot be expressed in cniVersion {version}"
            );
            return Err(CniError::new(Code::IncompatibleVersion, msg));
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

/// The shape of 0.3.0, 0.3.1 and 0.4.0. `dns` is there even when it is empty, as every writer has it.
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
