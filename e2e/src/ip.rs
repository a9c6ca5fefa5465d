//! Links, addresses and routes as `ip -j` tells them: another pair of eyes than the netlink code under test.

use std::process::Command;

use serde::Deserialize;

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Whether it is administratively up.
    pub up: bool,
    /// Its MTU.
    pub mtu: u32,
    /// Its addresses with prefix length; link-local ones are left out, the kernel makes them by itself.
    pub addresses: Vec<String>,
}

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Route {
    /// The destination: `default` or a prefix.
    pub dst: String,
    /// The next hop.
    #[serde(default)]
    pub gateway: Option<String>,
    /// The interface.
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

/// `ip` with arguments separated by blanks.
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

/// The IPv4 and then the IPv6 routes of the main table in the calling thread's network namespace.
pub fn routes() -> Vec<Route> {
    let mut routes: Vec<Route> = json("-j -4 route show table main");
    routes.extend(json::<Vec<Route>>("-j -6 route show table main"));
    routes
}

fn json<T: for<'de> Deserialize<'de> + Default>(arguments: &str) -> T {
    let output = command(arguments)
        .output()
        .unwrap_or_else(|error| panic!("ip {arguments}: {error}"));
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    if output.stdout.trim_ascii().is_empty() {
        return T::default();
    }
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("ip {arguments}: {error}"))
}
