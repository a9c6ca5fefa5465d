//! The JSON form: a list of objects, one for each network.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU64};

use serde_json::value::RawValue;

use super::object::Object;
use super::syntax::{is_address, is_hardware_address, shown};
use super::{Bandwidth, PortMapping, Selection, SelectionError};
use crate::cni::validate_ifname;
use crate::dns::{LABEL, is_namespace, is_subdomain};
use crate::json::{MAX_CONFIG, check_limits};

/// The largest burst that the bandwidth plugin takes, in bits: it counts bytes in 32 bits and refuses their maximum.
const MAX_BURST: u64 = u32::MAX as u64 * 8 - 1;
/// The smallest burst that is filled in, in bits: less than a jumbo frame and such a frame never passes.
const MIN_DEFAULT_BURST: u64 = 9_000 * 8;

pub(super) fn list(text: &str) -> Result<Vec<Selection>, SelectionError> {
    check_limits(text.as_bytes(), MAX_CONFIG)
        .map_err(|error| SelectionError::new("annotation", error.msg))?;
    let elements: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| not_a_list(text, &error))?;
    let read = |(index, raw): (usize, &RawValue)| {
        element(&Object::read(raw, format!("element {}", index + 1))?)
    };
    elements.into_iter().enumerate().map(read).collect()
}

fn not_a_list(text: &str, error: &serde_json::Error) -> SelectionError {
    if error.is_data() {
        let why = format!(
            "{} is not a list; write it as [{{\"name\": \"…\"}}]",
            shown(text)
        );
        return SelectionError::new("annotation", why);
    }
    let line = text
        .lines()
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let before: Vec<_> = line
        .char_indices()
        .filter(|(at, _)| *at < error.column())
        .map(|(_, c)| c)
        .collect();
    let before: String = before[before.len().saturating_sub(30)..].iter().collect();
    SelectionError::new(
        "annotation",
        format!("is not JSON: {error}, after {before:?}"),
    )
}

fn element(object: &Object) -> Result<Selection, SelectionError> {
    let name = object
        .string("name")?
        .ok_or_else(|| object.wrong("name", "is missing or empty"))?;
    if !is_subdomain(&name) {
        let why = format!(
            "{:?} must be {LABEL}, in parts separated by '.', at most 253",
            shown(&name)
        );
        return Err(object.wrong("name", why));
    }
    let namespace = object.string("namespace")?.unwrap_or_default();
    if !namespace.is_empty() && !is_namespace(&namespace) {
        return Err(object.wrong(
            "namespace",
            format!("{:?} must be {LABEL}, at most 63", shown(&namespace)),
        ));
    }
    let ips = ips(object)?;
    // The claim is for those who allocate addresses; they read the annotation themselves (K-044).
    if object.string("ipam-claim-reference")?.is_some() && !ips.is_empty() {
        return Err(object.wrong(
            "ipam-claim-reference",
            "excludes the key \"ips\"; leave one of them out",
        ));
    }
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
        default_route: default_route(object)?,
        device_id: object.string("deviceID")?,
    })
}

/// `interface`, or where it is empty the older `interfaceRequest` (K-032, K-045).
fn interface(object: &Object) -> Result<Option<String>, SelectionError> {
    for key in ["interface", "interfaceRequest"] {
        if let Some(interface) = object.string(key)? {
            validate_ifname(&interface).map_err(|error| object.wrong(key, error.msg))?;
            return Ok(Some(interface));
        }
    }
    Ok(None)
}

fn ips(object: &Object) -> Result<Vec<String>, SelectionError> {
    let ips: Vec<String> = object.filled("ips", "a list of strings")?;
    match ips.iter().find(|ip| !is_address(ip)) {
        Some(ip) => {
            let why = format!(
                "{:?} is not an IP address, nor one with a prefix length like 10.1.2.3/24",
                shown(ip)
            );
            Err(object.wrong("ips", why))
        }
        None => Ok(ips),
    }
}

fn hardware_address(
    object: &Object,
    key: &str,
    bytes: usize,
) -> Result<Option<String>, SelectionError> {
    match object.string(key)? {
        Some(address) if !is_hardware_address(&address, bytes) => {
            let example = vec!["02"; bytes].join(":");
            let why = format!(
                "{:?} is not an address of {bytes} bytes like {example}",
                shown(&address)
            );
            Err(object.wrong(key, why))
        }
        address => Ok(address),
    }
}

fn port_mappings(object: &Object) -> Result<Vec<PortMapping>, SelectionError> {
    const KEY: &str = "portMappings";
    let list: Vec<Box<RawValue>> = object.filled(KEY, "a list of objects")?;
    let read = |(index, raw): (usize, Box<RawValue>)| {
        port_mapping(&Object::read(
            &raw,
            format!("{}, entry {}", object.place(KEY), index + 1),
        )?)
    };
    list.into_iter().enumerate().map(read).collect()
}

fn port_mapping(object: &Object) -> Result<PortMapping, SelectionError> {
    let port = |key| {
        let port: Option<NonZeroU16> = object.get(key, "a port from 1 to 65535")?;
        port.map(NonZeroU16::get)
            .ok_or_else(|| object.wrong(key, "is missing"))
    };
    let (host_port, container_port) = (port("hostPort")?, port("containerPort")?);
    let protocol = object
        .string("protocol")?
        .map_or_else(|| "tcp".to_owned(), |text| text.to_ascii_lowercase());
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(object.wrong(
            "protocol",
            format!("{:?} is none of TCP, UDP, SCTP", shown(&protocol)),
        ));
    }
    let host_ip = object.string("hostIP")?.unwrap_or_default();
    if !host_ip.is_empty() && host_ip.parse::<IpAddr>().is_err() {
        return Err(object.wrong(
            "hostIP",
            format!("{:?} is not an IP address", shown(&host_ip)),
        ));
    }
    Ok(PortMapping {
        host_port,
        container_port,
        protocol,
        host_ip,
    })
}

fn bandwidth(object: &Object) -> Result<Option<Bandwidth>, SelectionError> {
    const KEY: &str = "bandwidth";
    let Some(raw) = object.get::<Box<RawValue>>(KEY, "an object")? else {
        return Ok(None);
    };
    let limits = Object::read(&raw, object.place(KEY))?;
    let (ingress_rate, ingress_burst) = rate_and_burst(&limits, "ingressRate", "ingressBurst")?;
    let (egress_rate, egress_burst) = rate_and_burst(&limits, "egressRate", "egressBurst")?;
    if ingress_rate == 0 && egress_rate == 0 {
        return Err(object.wrong(KEY, "has neither \"ingressRate\" nor \"egressRate\""));
    }
    Ok(Some(Bandwidth {
        ingress_rate,
        ingress_burst,
        egress_rate,
        egress_burst,
    }))
}

/// One direction (K-038); both 0 where the element says nothing. The bandwidth plugin refuses a rate without a burst,
/// so one second's worth of the rate is filled in.
fn rate_and_burst(limits: &Object, rate: &str, burst: &str) -> Result<(u64, u64), SelectionError> {
    let number = |key| {
        let number: Option<NonZeroU64> = limits.get(key, "a whole number above 0")?;
        Ok(number.map(NonZeroU64::get))
    };
    match (number(rate)?, number(burst)?) {
        (Some(rate), None) => Ok((rate, rate.clamp(MIN_DEFAULT_BURST, MAX_BURST))),
        (Some(_), Some(bits)) if bits > MAX_BURST => Err(limits.wrong(
            burst,
            format!("{bits} is more than the {MAX_BURST} bits that a burst can have"),
        )),
        (Some(rate), Some(burst)) => Ok((rate, burst)),
        (None, Some(_)) => Err(limits.wrong(burst, format!("needs {rate:?} beside it"))),
        (None, None) => Ok((0, 0)),
    }
}

/// The gateways of this element; how many a pod can have over all elements is not checked here (K-040).
fn default_route(object: &Object) -> Result<Option<Vec<IpAddr>>, SelectionError> {
    const KEY: &str = "default-route";
    let Some(gateways) = object.get::<Vec<String>>(KEY, "a list of strings")? else {
        return Ok(None);
    };
    let gateway = |text: String| match text.parse::<IpAddr>() {
        // The family decides which default routes move; `::ffff:10.0.0.1` is an IPv4 address.
        Ok(gateway) => Ok(gateway.to_canonical()),
        Err(_) => Err(object.wrong(KEY, format!("{:?} is not an IP address", shown(&text)))),
    };
    gateways
        .into_iter()
        .map(gateway)
        .collect::<Result<_, _>>()
        .map(Some)
}
