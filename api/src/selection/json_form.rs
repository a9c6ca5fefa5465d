//! The JSON form: a list of objects, one per network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU16, NonZeroU64};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::reader::Reader;
use super::syntax::{is_address, is_hardware_address};
use super::{
    Bandwidth, Claims, MAX_ANNOTATION, MAX_ELEMENTS, PortMapping, Selection, SelectionError,
    check_count,
};
use crate::cni::validate_ifname;
use crate::dns::{LABEL, is_namespace, is_subdomain};
use crate::json::{ValuePath, check_limits, decode};
use crate::{quote, shorten};

/// The largest burst that the bandwidth plugin accepts, in bits: the plugin stores bytes in a
/// 32-bit number and refuses its maximum.
const MAX_BURST: u64 = u32::MAX as u64 * 8 - 1;
/// The smallest default burst, in bits: a jumbo frame, which would never pass a smaller burst.
const MIN_DEFAULT_BURST: u64 = 9_000 * 8;

pub(super) fn parse(text: &str, claims: Claims) -> Result<Vec<Selection>, SelectionError> {
    check_limits(text.as_bytes(), MAX_ANNOTATION)
        .map_err(|error| SelectionError::whole(error.to_string()))?;
    let text = decode(text.as_bytes());
    let list: Elements<'_> =
        serde_json::from_str(&text).map_err(|error| not_a_list(&text, &error))?;
    check_count(list.count)?;
    list.first
        .into_iter()
        .enumerate()
        .map(|(index, raw)| element(&Reader::new(raw, ValuePath::default().join(index))?, claims))
        .collect()
}

/// See [`super::from_attributes`].
pub(super) fn attributes(raw: &RawValue) -> Result<Selection, SelectionError> {
    let path = ValuePath::default().join("interfaceAttributes");
    check_limits(raw.get().as_bytes(), MAX_ANNOTATION)
        .map_err(|error| SelectionError::at(path.clone(), error.to_string()))?;
    let object = Reader::new(raw, path)?;
    Ok(Selection {
        ips: ips(&object)?,
        mac: hardware_address(&object, "mac", 6)?,
        cni_args: object.get("cni-args", "an object")?.unwrap_or_default(),
        ..Selection::default()
    })
}

/// The elements of a list. Those above the limit are only counted.
#[derive(Default)]
struct Elements<'a> {
    first: Vec<&'a RawValue>,
    count: usize,
}

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementsVisitor;

        impl<'de> Visitor<'de> for ElementsVisitor {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Elements<'de>, A::Error> {
                let mut elements = Elements::default();
                while let Some(element) = list.next_element()? {
                    if elements.count < MAX_ELEMENTS {
                        elements.first.push(element);
                    }
                    elements.count += 1;
                }
                Ok(elements)
            }
        }

        deserializer.deserialize_seq(ElementsVisitor)
    }
}

fn not_a_list(text: &str, error: &serde_json::Error) -> SelectionError {
    if error.is_data() {
        let reason = format!(
            "{} is not a list; use the form [{{\"name\": \"…\"}}]",
            shorten(text.trim())
        );
        return SelectionError::whole(reason);
    }
    let line = text
        .lines()
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let before = &line[..line.floor_char_boundary(error.column())];
    let start = before.char_indices().rev().take(30).last();
    let context = &before[start.map_or(0, |(at, _)| at)..];
    SelectionError::whole(format!("is not JSON: {error}, after {context:?}"))
}

fn element(object: &Reader, claims: Claims) -> Result<Selection, SelectionError> {
    let name = object
        .string("name")?
        .ok_or_else(|| object.invalid("name", "is missing or empty"))?;
    if let Some(reason) = misplaced(&name) {
        return Err(object.invalid("name", reason));
    }
    if !is_subdomain(&name) {
        let reason = format!(
            "{} must be {LABEL}, in parts separated by '.', at most 253 characters",
            quote(&name)
        );
        return Err(object.invalid("name", reason));
    }
    let namespace = object.string("namespace")?.unwrap_or_default();
    if !namespace.is_empty() && !is_namespace(&namespace) {
        return Err(object.invalid(
            "namespace",
            format!(
                "{} must be {LABEL}, at most 63 characters",
                quote(&namespace)
            ),
        ));
    }
    let ips = ips(object)?;
    // Claims are only for IPAM controllers, which read the annotation themselves (K-044).
    let has_claim = object.string("ipam-claim-reference")?.is_some();
    if has_claim && !ips.is_empty() && claims == Claims::WithoutIps {
        return Err(object.invalid(
            "ipam-claim-reference",
            "cannot be combined with \"ips\"; remove one of them",
        ));
    }
    let default_route = default_route(object, &ips)?;
    Ok(Selection {
        name,
        namespace,
        interface: interface(object)?,
        ips,
        mac: hardware_address(object, "mac", 6)?,
        infiniband_guid: hardware_address(object, "infiniband-guid", 8)?,
        port_mappings: port_mappings(object)?,
        bandwidth: bandwidth(object)?,
        cni_args: object.get("cni-args", "an object")?.unwrap_or_default(),
        default_route,
        device_id: object.string("deviceID")?,
    })
}

/// The reason why a name in the short form is invalid here, with the keys to use instead.
fn misplaced(name: &str) -> Option<String> {
    let (path, interface) = name.split_once('@').unwrap_or((name, ""));
    let (namespace, plain) = path.split_once('/').unwrap_or(("", path));
    if namespace.is_empty() && interface.is_empty() {
        return None;
    }
    let mut keys = vec![format!("\"name\": {}", quote(plain))];
    if !namespace.is_empty() {
        keys.push(format!("\"namespace\": {}", quote(namespace)));
    }
    if !interface.is_empty() {
        keys.push(format!("\"interface\": {}", quote(interface)));
    }
    let keys = keys.join(", ");
    Some(format!("{} has more than a name; use {keys}", quote(name)))
}

/// `interface`, or `interfaceRequest`, its older name (K-032, K-045).
fn interface(object: &Reader) -> Result<Option<String>, SelectionError> {
    for key in ["interface", "interfaceRequest"] {
        if let Some(interface) = object.string(key)? {
            validate_ifname(&interface).map_err(|error| object.invalid(key, error.to_string()))?;
            return Ok(Some(interface));
        }
    }
    Ok(None)
}

fn ips(object: &Reader) -> Result<Vec<String>, SelectionError> {
    let ips: Vec<String> = object.list("ips", "a list of strings")?;
    match ips.iter().find(|ip| !is_address(ip)) {
        Some(ip) => {
            let reason = format!(
                "{} is not an IP address; use the form 10.1.2.3 or 10.1.2.3/24",
                quote(ip)
            );
            Err(object.invalid("ips", reason))
        }
        None => Ok(ips),
    }
}

fn hardware_address(
    object: &Reader,
    key: &str,
    bytes: usize,
) -> Result<Option<String>, SelectionError> {
    match object.string(key)? {
        Some(address) if !is_hardware_address(&address, bytes) => {
            let example = vec!["02"; bytes].join(":");
            let reason = format!(
                "{} is not an address of {bytes} bytes like {example}",
                quote(&address)
            );
            Err(object.invalid(key, reason))
        }
        address => Ok(address),
    }
}

fn port_mappings(object: &Reader) -> Result<Vec<PortMapping>, SelectionError> {
    const KEY: &str = "portMappings";
    object
        .list::<Box<RawValue>>(KEY, "a list of objects")?
        .into_iter()
        .enumerate()
        .map(|(index, raw)| port_mapping(&Reader::new(&raw, object.path(KEY).join(index))?))
        .collect()
}

fn port_mapping(object: &Reader) -> Result<PortMapping, SelectionError> {
    let port = |key| {
        object
            .get::<NonZeroU16>(key, "a port from 1 to 65535")?
            .map(NonZeroU16::get)
            .ok_or_else(|| object.invalid(key, "is missing"))
    };
    let (host_port, container_port) = (port("hostPort")?, port("containerPort")?);
    let protocol = object
        .string("protocol")?
        .map_or_else(|| "tcp".to_owned(), |text| text.to_ascii_lowercase());
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(object.invalid(
            "protocol",
            format!("{} is not TCP, UDP or SCTP", quote(&protocol)),
        ));
    }
    let host_ip = object.string("hostIP")?.unwrap_or_default();
    if !host_ip.is_empty() && host_ip.parse::<IpAddr>().is_err() {
        return Err(object.invalid(
            "hostIP",
            format!("{} is not an IP address", quote(&host_ip)),
        ));
    }
    Ok(PortMapping {
        host_port,
        container_port,
        protocol,
        host_ip,
    })
}

fn bandwidth(object: &Reader) -> Result<Option<Bandwidth>, SelectionError> {
    const KEY: &str = "bandwidth";
    let Some(raw) = object.get::<Box<RawValue>>(KEY, "an object")? else {
        return Ok(None);
    };
    let limits = Reader::new(&raw, object.path(KEY))?;
    if limits.is_empty() {
        return Ok(None);
    }
    let (ingress_rate, ingress_burst) = rate_and_burst(&limits, "ingressRate", "ingressBurst")?;
    let (egress_rate, egress_burst) = rate_and_burst(&limits, "egressRate", "egressBurst")?;
    if ingress_rate == 0 && egress_rate == 0 {
        return Err(object.invalid(KEY, "has neither \"ingressRate\" nor \"egressRate\""));
    }
    Ok(Some(Bandwidth {
        ingress_rate,
        ingress_burst,
        egress_rate,
        egress_burst,
    }))
}

/// The rate and burst of one direction (K-038); both 0 if the element has no limit. The bandwidth plugin
/// refuses a rate without a burst, so the default burst is one second of the rate.
fn rate_and_burst(limits: &Reader, rate: &str, burst: &str) -> Result<(u64, u64), SelectionError> {
    let number = |key| {
        limits
            .get::<NonZeroU64>(key, "a whole number above 0")
            .map(|number| number.map(NonZeroU64::get))
    };
    match (number(rate)?, number(burst)?) {
        (Some(rate), None) => Ok((rate, rate.clamp(MIN_DEFAULT_BURST, MAX_BURST))),
        (Some(_), Some(bits)) if bits > MAX_BURST => Err(limits.invalid(
            burst,
            format!("{bits} is more than the {MAX_BURST} bits of the largest burst"),
        )),
        (Some(rate), Some(burst)) => Ok((rate, burst)),
        (None, Some(_)) => Err(limits.invalid(burst, format!("needs {rate:?} as well"))),
        (None, None) => Ok((0, 0)),
    }
}

/// The gateways of this element. `ips` are its requested addresses. The limit for all elements of a
/// pod is not checked here (K-040).
fn default_route(object: &Reader, ips: &[String]) -> Result<Option<Vec<IpAddr>>, SelectionError> {
    const KEY: &str = "default-route";
    let Some(gateways) = object.get::<Vec<String>>(KEY, "a list of strings")? else {
        return Ok(None);
    };
    let own: Vec<IpAddr> = ips
        .iter()
        .filter_map(|ip| ip.split('/').next()?.parse().ok())
        .collect();
    let parse = |text: String| {
        let invalid = |reason: &str| object.invalid(KEY, format!("{} {reason}", quote(&text)));
        // The address family decides which default routes move; `::ffff:10.0.0.1` is IPv4.
        let gateway = text
            .parse::<IpAddr>()
            .map_err(|_| invalid("is not an IP address"))?
            .to_canonical();
        if !is_unicast(gateway) {
            return Err(invalid("is no gateway; use the address of a router"));
        }
        if own.contains(&gateway) {
            return Err(invalid(
                "is no gateway, because the pod requests it as its own address",
            ));
        }
        Ok(gateway)
    };
    gateways
        .into_iter()
        .map(parse)
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Whether a router can have the address.
fn is_unicast(address: IpAddr) -> bool {
    let broadcast = IpAddr::V4(Ipv4Addr::BROADCAST);
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address == broadcast)
}
