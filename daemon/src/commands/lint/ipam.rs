//! The addresses that the reference IPAM plugins assign.

use std::net::IpAddr;

use ipnet::IpNet;
use plexus_api::cni::{NetworkConfig, PluginConfig};
use plexus_api::json::PathStep;
use serde_json::Value;

use super::finding::{Reporter, Rule};
use super::plugin_keys::{self, RANGE, ROUTE, STATIC_ADDRESS};
use super::plugins::{check_object, member};

/// A range of addresses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) struct Range {
    first: IpAddr,
    last: IpAddr,
}

impl Range {
    pub(in crate::commands) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.first.is_ipv4() == other.first.is_ipv4()
            && self.first <= other.last
            && other.first <= self.last
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// The ranges of all host-local IPAM plugins of a network.
pub(super) fn host_local_ranges(config: &NetworkConfig) -> Vec<Range> {
    let ipams = host_locals(config);
    let sets = ipams.flat_map(|ipam| range_sets(&ipam));
    sets.flatten().map(|assignable| assignable.range).collect()
}

/// The addresses that host-local assigns of a range: all except the gateway and the broadcast address.
#[derive(Debug)]
pub(in crate::commands) struct Assignable {
    pub(in crate::commands) range: Range,
    pub(in crate::commands) count: u128,
}

impl Assignable {
    fn new(range: Range, value: &Value) -> Self {
        let number = |address| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        let text = |key| {
            member(value, key)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let subnet: Option<IpNet> = text("subnet").parse().ok();
        let first = subnet.and_then(|subnet| subnet.hosts().next());
        let gateway = text("gateway").parse().ok().or(first);
        let broadcast = subnet
            .map(|subnet| subnet.broadcast())
            .filter(IpAddr::is_ipv4);
        let reserved = gateway.into_iter().chain(broadcast);
        let reserved = reserved.filter(|address| range.contains(*address)).count();
        let count = (number(range.last) - number(range.first)).saturating_add(1);
        Self {
            range,
            count: count.saturating_sub(reserved as u128),
        }
    }
}

/// The sets of ranges of each host-local IPAM plugin of a network, with its `dataDir`. A pod gets an
/// address of each set.
pub(in crate::commands) fn host_local_sets(
    config: &NetworkConfig,
) -> Vec<(Option<String>, Vec<Vec<Assignable>>)> {
    let ipams = host_locals(config).map(|ipam| {
        let data_dir = member(&ipam, "dataDir").and_then(Value::as_str);
        let data_dir = data_dir.filter(|dir| !dir.is_empty()).map(str::to_owned);
        (data_dir, range_sets(&ipam))
    });
    ipams.collect()
}

fn host_locals(config: &NetworkConfig) -> impl Iterator<Item = Value> {
    let of_host_local =
        |plugin: &&PluginConfig| plugin.ipam_type().as_deref() == Some("host-local");
    let plugins = config.plugins.iter().filter(of_host_local);
    plugins.filter_map(|plugin| plugin.get::<Value>("ipam"))
}

/// The valid ranges of an `ipam`, set by set.
fn range_sets(ipam: &Value) -> Vec<Vec<Assignable>> {
    let mut sets: Vec<(Vec<PathStep>, Vec<Assignable>)> = Vec::new();
    for (mut path, value) in ranges(ipam, &[]) {
        // "ranges", and the index of the set.
        path.truncate(2);
        let range = read_range(value).ok();
        let range = range.map(|range| Assignable::new(range, value));
        match sets.last_mut().filter(|(set, _)| *set == path) {
            Some((_, ranges)) => ranges.extend(range),
            None => sets.push((path, range.into_iter().collect())),
        }
    }
    sets.into_iter().map(|(_, ranges)| ranges).collect()
}

/// Checks the `ipam` of a plugin. `may_lack_ranges` says whether others may add the ranges.
pub(super) fn check(
    reporter: &mut Reporter<'_, '_>,
    plugin: &str,
    may_lack_ranges: bool,
    ipam: &Value,
    path: &[PathStep],
) {
    let kind = member(ipam, "type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if kind.is_empty() {
        if ipam.as_object().is_some_and(|object| !object.is_empty())
            && plugin != "ovn-k8s-cni-overlay"
        {
            let position = reporter.text.value(path);
            let text =
                "\"ipam\" has no \"type\", so its other keys have no effect; set the IPAM plugin";
            reporter.warning(Rule::PluginConfig, position, text);
        }
        return;
    }
    let Some(keys) = plugin_keys::of_ipam(kind) else {
        return;
    };
    let owner = format!("IPAM plugin {kind:?}");
    check_object(reporter, &owner, ipam, path, keys);
    check_items(reporter, &owner, (ipam, path), "routes", ROUTE);
    match kind {
        "static" => check_items(reporter, &owner, (ipam, path), "addresses", STATIC_ADDRESS),
        "host-local" => check_ranges(reporter, ipam, path, may_lack_ranges),
        _ => {}
    }
}

/// Checks the objects of a list.
fn check_items(
    reporter: &mut Reporter<'_, '_>,
    owner: &str,
    (object, path): (&Value, &[PathStep]),
    key: &str,
    keys: &[(&'static str, plugin_keys::Shape)],
) {
    let items = member(object, key).and_then(Value::as_array);
    for (index, item) in items.into_iter().flatten().enumerate() {
        let path = [path, &[key.into(), index.into()]].concat();
        let owner = format!("{owner}, {key}[{index}]");
        check_object(reporter, &owner, item, &path, keys);
    }
}

fn check_ranges(
    reporter: &mut Reporter<'_, '_>,
    ipam: &Value,
    path: &[PathStep],
    may_lack_ranges: bool,
) {
    const OWNER: &str = "IPAM plugin \"host-local\"";
    let sets = member(ipam, "ranges").and_then(Value::as_array);
    for (index, set) in sets.into_iter().flatten().enumerate() {
        if !set.is_array() {
            let path = [path, &["ranges".into(), index.into()]].concat();
            let position = reporter.text.value(&path);
            let text = format!(
                "{OWNER}: \"ranges\" must be a list of lists; write [[{{\"subnet\": …}}]] instead of [{{\"subnet\": …}}]"
            );
            reporter.error(Rule::PluginConfig, position, &text);
            return;
        }
    }
    let ranges = ranges(ipam, path);
    if ranges.is_empty() && !may_lack_ranges {
        let position = reporter.text.value(path);
        let text = format!("{OWNER} has no \"subnet\" and no \"ranges\", and refuses that");
        reporter.error(Rule::PluginConfig, position, &text);
    }
    let mut earlier: Vec<Range> = Vec::new();
    for (place, value) in ranges {
        if place.as_slice() != path {
            check_object(reporter, OWNER, value, &place, RANGE);
        }
        match read_range(value) {
            Ok(range) => {
                if let Some(other) = earlier.iter().find(|other| other.overlaps(&range)) {
                    let position = reporter.text.value(&place);
                    let text =
                        format!("{OWNER}: the range {range} overlaps with the range {other}");
                    reporter.error(Rule::PluginConfig, position, &text);
                }
                earlier.push(range);
            }
            Err(Some((key, reason))) => {
                let position = reporter
                    .text
                    .value(&[place.as_slice(), &[key.into()]].concat());
                reporter.error(Rule::PluginConfig, position, &format!("{OWNER}: {reason}"));
            }
            // Reported by its shape.
            Err(None) => {}
        }
    }
}

/// The objects of all ranges, with their paths. A range beside the list is the `ipam` itself.
fn ranges<'a>(ipam: &'a Value, path: &[PathStep]) -> Vec<(Vec<PathStep>, &'a Value)> {
    let own = member(ipam, "subnet").map(|_| (path.to_vec(), ipam));
    let sets = member(ipam, "ranges").and_then(Value::as_array);
    let listed = sets
        .into_iter()
        .flatten()
        .enumerate()
        .flat_map(|(set, ranges)| {
            let ranges = ranges.as_array().into_iter().flatten().enumerate();
            ranges.map(move |(index, range)| {
                let steps = ["ranges".into(), set.into(), index.into()];
                ([path, &steps].concat(), range)
            })
        });
    own.into_iter().chain(listed).collect()
}

/// The addresses of a range of host-local.
///
/// # Errors
/// The key of the invalid value and the reason, or `None` if a value has the wrong shape.
fn read_range(range: &Value) -> Result<Range, Option<(&'static str, String)>> {
    let text = |key| {
        member(range, key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let subnet: IpNet = text("subnet")
        .and_then(|text| text.parse().ok())
        .ok_or(None)?;
    if subnet.addr() != subnet.network() {
        let reason = format!(
            "\"subnet\" is {:?}, but the address of the network is {}; write \"{}\"",
            subnet.to_string(),
            subnet.network(),
            subnet.trunc()
        );
        return Err(Some(("subnet", reason)));
    }
    if subnet.prefix_len() + 2 > subnet.max_prefix_len() {
        let reason = format!("\"subnet\" {subnet} is too small to assign addresses of it");
        return Err(Some(("subnet", reason)));
    }
    let address = |key: &'static str, default: IpAddr| {
        let Some(text) = text(key) else {
            return Ok(default);
        };
        let address: IpAddr = text.parse().map_err(|_| None)?;
        if subnet.contains(&address) {
            Ok(address)
        } else {
            Err(Some((key, format!("{key:?} {address} is not in {subnet}"))))
        }
    };
    let hosts = subnet.hosts();
    let first = address(
        "rangeStart",
        hosts.clone().next().unwrap_or(subnet.network()),
    )?;
    let last = address("rangeEnd", subnet.broadcast())?;
    if first > last {
        let reason = format!("\"rangeEnd\" {last} is before \"rangeStart\" {first}");
        return Err(Some(("rangeEnd", reason)));
    }
    Ok(Range { first, last })
}
