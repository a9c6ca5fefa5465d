//! The configuration keys of the reference plugins.
//!
//! Only plugins whose keys are all known are listed, from their version 1.9. Nothing is reported
//! about the keys of other plugins.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

/// What the value of a key must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Text,
    Flag,
    /// A whole number from 0 to this one.
    Number(u64),
    /// One of these strings, or an empty one.
    OneOf(&'static [&'static str]),
    Texts,
    /// An object whose values are strings.
    TextMap,
    List,
    Object,
    Address,
    Subnet,
}

use Shape::{Address, Flag, List, Number, Object, OneOf, Subnet, Text, TextMap, Texts};

type Keys = &'static [(&'static str, Shape)];

/// Keys of any plugin.
pub(super) const COMMON: Keys = &[
    ("args", Object),
    ("capabilities", Object),
    ("cniVersion", Text),
    ("cniVersions", Texts),
    ("deviceID", Text),
    ("disableCheck", Flag),
    ("disableGC", Flag),
    ("dns", Object),
    ("ipam", Object),
    ("loadOnlyInlinedPlugins", Flag),
    ("name", Text),
    ("pciBusID", Text),
    ("plugins", List),
    ("prevResult", Object),
    ("runtimeConfig", Object),
    ("type", Text),
];

const MTU: (&str, Shape) = ("mtu", Number(i32::MAX as u64));
const MAX_VLAN: u64 = 4094;
const MAX_U32: u64 = u32::MAX as u64;
const BACKENDS: Shape = OneOf(&["iptables", "nftables"]);

/// The keys of a plugin, besides [`COMMON`]. Returns `None` for plugins that are not listed.
pub(super) fn of_plugin(kind: &str) -> Option<Keys> {
    Some(match kind {
        "bridge" => &[
            ("bridge", Text),
            ("disableContainerInterface", Flag),
            ("enabledad", Flag),
            ("forceAddress", Flag),
            ("hairpinMode", Flag),
            ("ipMasq", Flag),
            ("ipMasqBackend", BACKENDS),
            ("isDefaultGateway", Flag),
            ("isGateway", Flag),
            ("macspoofchk", Flag),
            ("portIsolation", Flag),
            ("preserveDefaultVlan", Flag),
            ("promiscMode", Flag),
            ("vlan", Number(MAX_VLAN)),
            ("vlanTrunk", List),
            MTU,
        ],
        "macvlan" => &[
            ("bcqueuelen", Number(MAX_U32)),
            ("linkInContainer", Flag),
            ("mac", Text),
            ("master", Text),
            ("mode", OneOf(&["bridge", "private", "vepa", "passthru"])),
            MTU,
        ],
        "ipvlan" => &[
            ("linkInContainer", Flag),
            ("master", Text),
            ("mode", OneOf(&["l2", "l3", "l3s"])),
            MTU,
        ],
        "host-device" => &[
            ("device", Text),
            ("hwaddr", Text),
            ("kernelpath", Text),
            ("pciBusID", Text),
        ],
        "ptp" => &[("ipMasq", Flag), ("ipMasqBackend", BACKENDS), MTU],
        "vlan" => &[
            ("linkInContainer", Flag),
            ("master", Text),
            ("vlanId", Number(MAX_VLAN)),
            MTU,
        ],
        "tap" => &[
            ("bridge", Text),
            ("group", Number(MAX_U32)),
            ("mac", Text),
            ("multiQueue", Flag),
            ("owner", Number(MAX_U32)),
            ("selinuxContext", Text),
            MTU,
        ],
        "dummy" | "loopback" => &[],
        "tuning" => &[
            ("allmulti", Flag),
            ("dataDir", Text),
            ("mac", Text),
            ("promisc", Flag),
            ("sysctl", TextMap),
            ("txQLen", Number(MAX_U32)),
            MTU,
        ],
        "sbr" => &[
            ("addSourceHints", Flag),
            ("gateways", Texts),
            ("table", Number(MAX_U32)),
        ],
        "vrf" => &[("table", Number(MAX_U32)), ("vrfname", Text)],
        "bandwidth" => &[
            ("egressBurst", Number(u64::MAX)),
            ("egressRate", Number(u64::MAX)),
            ("ingressBurst", Number(u64::MAX)),
            ("ingressRate", Number(u64::MAX)),
            ("shapedSubnets", Texts),
            ("unshapedSubnets", Texts),
        ],
        "portmap" => &[
            ("backend", BACKENDS),
            ("conditionsV4", Texts),
            ("conditionsV6", Texts),
            ("externalSetMarkChain", Text),
            ("markMasqBit", Number(31)),
            ("masqAll", Flag),
            ("snat", Flag),
        ],
        "firewall" => &[
            ("backend", Text),
            ("firewalldZone", Text),
            ("ingressPolicy", Text),
            ("iptablesAdminChainName", Text),
        ],
        _ => return None,
    })
}

/// The keys of an IPAM plugin. Returns `None` for plugins that are not listed.
pub(super) fn of_ipam(kind: &str) -> Option<Keys> {
    Some(match kind {
        "host-local" => &[
            ("dataDir", Text),
            ("gateway", Address),
            ("rangeEnd", Address),
            ("rangeStart", Address),
            ("ranges", List),
            ("resolvConf", Text),
            ("routes", List),
            ("subnet", Subnet),
            ("type", Text),
        ],
        "static" => &[
            ("addresses", List),
            ("dns", Object),
            ("routes", List),
            ("type", Text),
        ],
        "dhcp" => &[
            ("daemonSocketPath", Text),
            ("priority", Number(i32::MAX as u64)),
            ("provide", List),
            ("request", List),
            ("type", Text),
        ],
        _ => return None,
    })
}

/// The keys of a range of host-local.
pub(super) const RANGE: Keys = &[
    ("gateway", Address),
    ("rangeEnd", Address),
    ("rangeStart", Address),
    ("subnet", Subnet),
];

/// The keys of a route.
pub(super) const ROUTE: Keys = &[
    ("advmss", Number(i32::MAX as u64)),
    ("dst", Subnet),
    ("gw", Address),
    ("mtu", Number(i32::MAX as u64)),
    ("priority", Number(i32::MAX as u64)),
    ("scope", Number(255)),
    ("table", Number(i32::MAX as u64)),
];

/// The keys of an address of static.
pub(super) const STATIC_ADDRESS: Keys = &[("address", Subnet), ("gateway", Address)];

impl Shape {
    /// What `value` must be instead, if it is not of this shape. Null counts as a missing key.
    pub(super) fn refuses(self, value: &Value) -> Option<String> {
        let text = value.as_str();
        let (is_valid, expected) = match self {
            Text => (value.is_string(), "a string".to_owned()),
            Flag => (
                value.is_boolean(),
                "true or false, without quotes".to_owned(),
            ),
            Number(max) => {
                let expected = match (text, text.and_then(|text| text.parse::<u64>().ok())) {
                    (Some(_), Some(number)) if number <= max => {
                        format!("a number: write {number} without quotes")
                    }
                    _ if max > MAX_U32 / 2 => "a whole number".to_owned(),
                    _ => format!("a whole number from 0 to {max}"),
                };
                (value.as_u64().is_some_and(|number| number <= max), expected)
            }
            OneOf(names) => {
                let is_known = |text: &str| text.is_empty() || names.contains(&text);
                (text.is_some_and(is_known), one_of(names))
            }
            Texts => (
                value
                    .as_array()
                    .is_some_and(|items| items.iter().all(Value::is_string)),
                "a list of strings".to_owned(),
            ),
            TextMap => (
                value
                    .as_object()
                    .is_some_and(|object| object.values().all(Value::is_string)),
                "an object whose values are strings, in quotes".to_owned(),
            ),
            List => (value.is_array(), "a list".to_owned()),
            Object => (value.is_object(), "an object".to_owned()),
            Address => (
                text.is_some_and(|text| text.is_empty() || text.parse::<IpAddr>().is_ok()),
                "an IP address without a prefix length".to_owned(),
            ),
            Subnet => (
                text.is_some_and(|text| text.parse::<IpNet>().is_ok()),
                "an address with a prefix length, like \"10.1.2.0/24\"".to_owned(),
            ),
        };
        (!is_valid && !value.is_null()).then_some(expected)
    }
}

fn one_of(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
