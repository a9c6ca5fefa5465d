//! Links, addresses and routes as `ip -j` prints them. Independent of the netlink code under test.

use std::io;
use std::process::{Command, Output};

use serde::Deserialize;
use serde_json::Value;

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub name: String,
    pub mac: String,
    /// Whether the link is administratively up.
    pub up: bool,
    pub mtu: u32,
    /// Addresses with prefix length, without link-local ones, which the kernel assigns by itself.
    pub addresses: Vec<String>,
}

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Route {
    /// `default` or a prefix.
    pub dst: String,
    #[serde(default)]
    pub gateway: Option<String>,
    #[serde(default)]
    pub dev: Option<String>,
}

#[derive(Deserialize)]
struct RawLink {
    ifname: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    mtu: u32,
    #[serde(default)]
    addr_info: Vec<RawAddress>,
}

#[derive(Deserialize)]
struct RawAddress {
    #[serde(default)]
    local: String,
    #[serde(default)]
    prefixlen: u8,
    #[serde(default)]
    scope: String,
}

/// The command `ip`. `arguments` are separated by spaces.
pub fn command(arguments: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(arguments.split(' '));
    command
}

/// The links in the calling thread's network namespace.
pub fn links() -> Vec<Link> {
    let raw: Vec<RawLink> = json("-j addr show");
    let link = |raw: RawLink| {
        let addresses = raw
            .addr_info
            .into_iter()
            .filter(|address| address.scope != "link");
        Link {
            up: raw.flags.iter().any(|flag| flag == "UP"),
            name: raw.ifname,
            mac: raw.address,
            mtu: raw.mtu,
            addresses: addresses
                .map(|address| format!("{}/{}", address.local, address.prefixlen))
                .collect(),
        }
    };
    raw.into_iter().map(link).collect()
}

/// Everything that `ip` prints about one link in the calling thread's network namespace.
pub fn details(link: &str) -> Value {
    json::<Value>(&format!("-d -j link show dev {link}"))[0].take()
}

/// The IPv4 and then the IPv6 routes of the main table in the calling thread's network namespace.
pub fn routes() -> Vec<Route> {
    let mut routes: Vec<Route> = json("-j -4 route show table main");
    routes.extend(json::<Vec<Route>>("-j -6 route show table main"));
    routes
}

/// Panics with the error output of `ip` unless the command succeeded.
#[track_caller]
pub fn expect_success(arguments: &str, output: io::Result<Output>) -> Output {
    let output = output.unwrap_or_else(|error| panic!("ip {arguments}: {error}"));
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    output
}

fn json<T: for<'de> Deserialize<'de> + Default>(arguments: &str) -> T {
    let output = expect_success(arguments, command(arguments).output());
    if output.stdout.trim_ascii().is_empty() {
        return T::default();
    }
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("ip {arguments}: {error}"))
}
