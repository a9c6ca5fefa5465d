//! Default routes beside what the kernel does by itself for IPv6: duplicate address detection, and
//! routes of router advertisements.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, sendto, setsockopt,
    socket, sockopt,
};
use plexus_e2e::ip;
use plexus_e2e::{Node, Plexus, Pod, Sandbox, Script, Step, attaches};
use serde_json::json;

use crate::fixture::{assert_nothing_left, dummies, links};
use crate::start;

/// How long the kernel may take to apply an advertisement.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The default routes of IPv6 in the sandbox as `gateway interface`.
fn defaults(sandbox: &Sandbox<'_>) -> BTreeSet<String> {
    let routes = sandbox.routes().into_iter();
    let of_default = routes.filter(|route| route.dst == "default");
    of_default
        .filter_map(|route| Some(format!("{} {}", route.gateway?, route.dev?)))
        .filter(|route| route.contains(':'))
        .collect()
}

/// Sends a router advertisement to all nodes on a link of the node.
fn advertise(node: &Node, link: &str) {
    // Type 134, hop limit 64, and a router lifetime of 1800 seconds. The kernel sets the checksum.
    let mut message = [0_u8; 16];
    (message[0], message[4]) = (134, 64);
    message[6..8].copy_from_slice(&1800_u16.to_be_bytes());
    node.run(|| {
        let raw = socket(
            AddressFamily::Inet6,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::IcmpV6,
        )
        .expect("a raw socket");
        // Hosts ignore advertisements that a router has forwarded.
        setsockopt(&raw, sockopt::Ipv6MulticastHops, &255).expect("set the hop limit");
        setsockopt(&raw, sockopt::BindToDevice, &link.into()).expect("bind to the link");
        let all_nodes: SockaddrIn6 = "[ff02::1]:0"
            .parse::<std::net::SocketAddrV6>()
            .expect("an address")
            .into();
        sendto(raw.as_raw_fd(), &message, &all_nodes, MsgFlags::empty()).expect("send");
    });
}

/// Sends router advertisements until a default route of `link` through the router is there.
fn advertise_until_routed(node: &Node, router: &str, sandbox: &Sandbox<'_>, link: &str) {
    let end = Instant::now() + TIMEOUT;
    let is_routed = |route: &String| route.starts_with("fe80::") && route.ends_with(link);
    while !defaults(sandbox).iter().any(is_routed) {
        assert!(Instant::now() < end, "{:?}", sandbox.routes());
        advertise(node, router);
    }
}

#[test]
fn a_route_of_a_router_advertisement_makes_way_for_the_requested_one() {
    let node;
    let plexus = start!(node, &[], &["bridge", "macvlan", "host-local"]);
    dummies(&node, &["uplink0"]);
    let before = links(&node);
    let ipam = |prefix: &str| json!({"type": "host-local", "subnet": prefix});
    let bridge = json!({
        "cniVersion": "1.0.0", "type": "bridge", "bridge": "br0", "isGateway": true,
        "ipam": ipam("fd07::/64"),
    });
    plexus.manifests.definition("routed", &bridge);
    let gate = node.gate("last");
    node.plugin("gate", &Script::new().on("ADD", [gate.step()]));
    let plugins = json!([
        {"type": "macvlan", "master": "uplink0", "ipam": ipam("fd08::/64")}, {"type": "gate"},
    ]);
    let macvlan = json!({"cniVersion": "1.0.0", "plugins": plugins});
    plexus.manifests.definition("second", &macvlan);

    let sandbox = node.sandbox("pod");
    let pod = Pod::new("pod")
        .with_networks(r#"[{"name": "routed"}, {"name": "second", "default-route": ["fd08::9"]}]"#);
    let target = sandbox.target(&pod);
    let running = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    advertise_until_routed(&node, "br0", &sandbox, "net1");
    held.release();
    running.wait().result();
    assert_eq!(defaults(&sandbox), ["fd08::9 net2".to_owned()].into());
    plexus.runtime.check(&target).expect_success();
    // The kernel adds the route again after the next advertisement.
    advertise_until_routed(&node, "br0", &sandbox, "net1");
    plexus.runtime.check(&target).expect_success();
    plexus.runtime.del(&target).expect_success();
    node.ip("link del br0");
    assert_nothing_left(&plexus, &sandbox, &before);
}

/// A plugin that adds addresses while the kernel still looks for duplicates, and a default route if
/// there is a gateway.
fn tentative(prefix: &str, gateway: Option<&str>) -> Script {
    let mut steps = vec![
        Step::ip("link add $IFNAME type veth peer name p-$IFNAME"),
        Step::ip("link set p-$IFNAME up"),
        Step::ip("link set $IFNAME up"),
        Step::ip(&format!("addr add {prefix}::5/64 dev $IFNAME")),
    ];
    if let Some(gateway) = gateway {
        steps.push(Step::ip(&format!(
            "-6 route add default via {gateway} dev $IFNAME"
        )));
    }
    steps.push(Step::result(
        &format!("{prefix}::5/64"),
        gateway.unwrap_or_default(),
    ));
    attaches().on("ADD", steps)
}

/// Whether an address of the sandbox is still tentative.
fn is_tentative(sandbox: &Sandbox<'_>) -> bool {
    let output = sandbox.run(|| ip::command("-6 addr show tentative").output());
    !output.expect("execute ip").stdout.is_empty()
}

#[test]
fn the_default_route_moves_during_duplicate_address_detection_and_stays() {
    let node;
    let plexus: Plexus<'_> = start!(node, &[], &[]);
    let before = links(&node);
    node.plugin("main", &tentative("fd07", Some("fd07::1")));
    plexus.network("second", &tentative("fd08", None));
    let sandbox = node.sandbox("pod");
    // The kernel sends more probes, so that detection takes longer than ADD.
    let probes = "/proc/sys/net/ipv6/conf/default/dad_transmits";
    sandbox
        .run(|| std::fs::write(probes, "10"))
        .expect("set the number of probes");
    let pod =
        Pod::new("pod").with_networks(r#"[{"name": "second", "default-route": ["fd08::9"]}]"#);
    let target = sandbox.target(&pod);
    plexus.runtime.add(&target).result();
    let expected: BTreeSet<_> = ["fd08::9 net1".to_owned()].into();
    assert!(is_tentative(&sandbox));
    assert_eq!(defaults(&sandbox), expected);
    let end = Instant::now() + TIMEOUT;
    while is_tentative(&sandbox) {
        assert!(Instant::now() < end, "the addresses stay tentative");
    }
    assert_eq!(defaults(&sandbox), expected);
    plexus.runtime.check(&target).expect_success();
    plexus.runtime.del(&target).expect_success();
    assert_nothing_left(&plexus, &sandbox, &before);
}
