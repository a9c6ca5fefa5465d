//! Default routes of every kind move, and the cluster stays reachable.

use std::collections::BTreeSet;

use plexus_api::rows;
use plexus_e2e::{Node, Plexus, Pod, Sandbox, Script, Step, attaches, node, skip};
use serde_json::{Value, json};

/// Runs `ip` in the sandbox `pod`.
fn ip(command: &str) -> Step {
    let words = format!("ip -n pod {command}");
    Step::Run(words.split(' ').map(str::to_owned).collect())
}

/// A plugin that attaches the link with these addresses and routes, and prints `result`.
fn plugin(commands: &[&str], result: Value) -> Script {
    let commands = commands.iter().map(|command| ip(command));
    let steps = [Step::link()]
        .into_iter()
        .chain(commands)
        .chain([Step::Result(result)]);
    attaches().on("ADD", steps.collect::<Vec<_>>())
}

/// Starts Plexus with the definition `second`, whose networks are 10.8.0.0/24 and `fd08::/64`.
fn start(node: &Node, keys: Value) -> Plexus<'_> {
    let plexus = Plexus::start_with(node, keys);
    let commands = [
        "addr add 10.8.0.2/24 dev net1",
        "addr add fd08::2/64 dev net1 nodad",
        "link set net1 up",
    ];
    let result = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "net1", "sandbox": "$NETNS"}],
        "ips": [{"address": "10.8.0.2/24", "interface": 0}, {"address": "fd08::2/64", "interface": 0}],
    });
    plexus.network("second", &plugin(&commands, result));
    plexus
}

/// The result of a default network with these addresses and default gateways.
fn result(addresses: &[&str], gateways: &[&str]) -> Value {
    let ips: Vec<_> = addresses
        .iter()
        .map(|address| json!({"address": address, "interface": 0}))
        .collect();
    let routes: Vec<_> = gateways
        .iter()
        .map(|gateway| {
            let dst = if gateway.contains(':') {
                "::/0"
            } else {
                "0.0.0.0/0"
            };
            json!({"dst": dst, "gw": gateway})
        })
        .collect();
    json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eth0", "sandbox": "$NETNS"}],
        "ips": ips, "routes": routes,
    })
}

/// The routes of the sandbox as `destination gateway interface`, except those to the addresses of
/// links.
fn routes(sandbox: &Sandbox<'_>) -> BTreeSet<String> {
    sandbox
        .routes()
        .into_iter()
        .filter(|route| !route.dst.starts_with("fe80::/"))
        .map(|route| {
            let (gateway, dev) = (
                route.gateway.unwrap_or_default(),
                route.dev.unwrap_or_default(),
            );
            format!("{} {gateway} {dev}", route.dst)
        })
        .collect()
}

const CALICO: [&str; 7] = [
    "addr add 10.1.0.5/32 dev eth0",
    "addr add fd01::5/128 dev eth0 nodad",
    "link set eth0 up",
    "route add 169.254.1.1 dev eth0 scope link",
    "route add default via 169.254.1.1 dev eth0",
    "-6 route add fe80::1 dev eth0",
    "-6 route add default via fe80::1 dev eth0",
];

fn calico() -> Script {
    let result = result(&["10.1.0.5/32", "fd01::5/128"], &["169.254.1.1", "fe80::1"]);
    plugin(&CALICO, result)
}

#[test]
fn cluster_routes_go_through_the_gateway_of_the_default_network() {
    rows!("K-041", "K-042");
    let node = node!();
    let keys = json!({"clusterRoutes": ["10.96.0.0/12", "fd00:96::/112", "10.8.0.0/24"]});
    let plexus = start(&node, keys);
    node.plugin("main", &calico());
    let v4 = ["10.96.0.0/12 169.254.1.1 eth0", "default 10.8.0.1 net1"];
    let v6 = ["fd00:96::/112 fe80::1 eth0", "default fd08::1 net1"];
    for (gateways, expected, unexpected) in [
        (r#"["10.8.0.1"]"#, &v4[..], "fd00:96::/112"),
        (r#"["fd08::1"]"#, &v6[..], "10.96.0.0/12"),
        (
            r#"["10.8.0.1", "fd08::1"]"#,
            &[v4[0], v4[1], v6[0], v6[1]],
            "-",
        ),
    ] {
        let sandbox = node.sandbox("pod");
        let networks = format!(r#"[{{"name": "second", "default-route": {gateways}}}]"#);
        let target = sandbox.target(&Pod::new("p").with_networks(networks));
        let output = plexus.runtime.add(&target);
        let result = output.result()["routes"].to_string();
        let found = routes(&sandbox);
        for route in expected {
            assert!(found.contains(*route), "{route} in {found:?}");
            let destination = route.split(' ').next().unwrap_or_default();
            let of_default_network = route.ends_with("eth0");
            assert!(
                !of_default_network || result.contains(destination),
                "{destination} in {result}"
            );
        }
        assert!(
            !found.iter().any(|route| route.starts_with(unexpected)),
            "{found:?}"
        );
        // The route to the gateway stays, and so does a destination that has a route already.
        assert!(found.contains("169.254.1.1  eth0"), "{found:?}");
        assert!(found.contains("10.8.0.0/24  net1"), "{found:?}");
        plexus.runtime.check(&target).expect_success();
        plexus.runtime.del(&target).expect_success();
        sandbox.remove();
    }
}

#[test]
fn no_cluster_route_is_added_if_the_default_network_keeps_its_default_route() {
    rows!("K-041");
    let node = node!();
    let plexus = start(&node, json!({"clusterRoutes": ["10.96.0.0/12"]}));
    node.plugin("main", &calico());
    for networks in [
        "second",
        // The network has no default route of its own.
        r#"[{"name": "second", "default-route": []}]"#,
    ] {
        let sandbox = node.sandbox("pod");
        let target = sandbox.target(&Pod::new("p").with_networks(networks));
        plexus.runtime.add(&target).result();
        let found = routes(&sandbox);
        assert!(
            !found.iter().any(|route| route.starts_with("10.96.")),
            "{found:?}"
        );
        plexus.runtime.del(&target).expect_success();
        sandbox.remove();
    }
}

#[test]
fn default_routes_of_every_kind_move() {
    rows!("K-041", "K-042");
    let node = node!();
    let probe = node.sandbox("probe");
    let supported = probe.run(|| plexus_e2e::ip::command("nexthop add id 7 dev lo").status());
    if !supported.is_ok_and(|status| status.success()) {
        skip!("the kernel or ip has no nexthop objects");
    }
    let plexus = start(&node, json!({"clusterRoutes": ["10.96.0.0/12"]}));
    let up = ["addr add 10.1.0.5/24 dev eth0", "link set eth0 up"];
    let kinds: [(&str, &[&str], &str); 7] = [
        (
            "metric",
            &[
                "route add default via 10.1.0.9 dev eth0 metric 200",
                "route add default via 10.1.0.1 dev eth0 metric 100",
            ],
            "10.1.0.1",
        ),
        (
            "ecmp",
            &["route add default nexthop via 10.1.0.1 dev eth0 nexthop via 10.1.0.9 dev eth0"],
            "10.1.0.1",
        ),
        (
            "nexthop object",
            &[
                "nexthop add id 7 via 10.1.0.1 dev eth0",
                "route add default nhid 7",
            ],
            "10.1.0.1",
        ),
        (
            "nexthop group",
            &[
                "nexthop add id 7 via 10.1.0.1 dev eth0",
                "nexthop add id 8 via 10.1.0.9 dev eth0",
                "nexthop add id 9 group 7/8",
                "route add default nhid 9",
            ],
            "10.1.0.1",
        ),
        (
            "onlink",
            &["route add default via 169.254.1.1 dev eth0 onlink"],
            "169.254.1.1",
        ),
        (
            "tos",
            &[
                "route add default via 10.1.0.1 dev eth0 tos 0x10",
                "route add default via 10.1.0.1 dev eth0",
            ],
            "10.1.0.1",
        ),
        ("no gateway", &["route add default dev eth0"], ""),
    ];
    let pod = Pod::new("p").with_networks(r#"[{"name": "second", "default-route": ["10.8.0.1"]}]"#);
    for (kind, commands, gateway) in kinds {
        let commands = [&up[..], commands].concat();
        node.plugin("main", &plugin(&commands, result(&["10.1.0.5/24"], &[])));
        let sandbox = node.sandbox("pod");
        let target = sandbox.target(&pod);
        let output = plexus.runtime.add(&target);
        assert!(output.ok(), "{kind}: {output:?}");
        let found = routes(&sandbox);
        let defaults: Vec<_> = found
            .iter()
            .filter(|route| route.starts_with("default"))
            .collect();
        assert_eq!(defaults, ["default 10.8.0.1 net1"], "{kind}");
        let cluster = format!("10.96.0.0/12 {gateway} eth0");
        assert!(found.contains(&cluster), "{kind}: {found:?}");
        plexus.runtime.check(&target).expect_success();
        plexus.runtime.del(&target).expect_success();
        sandbox.remove();
    }
}
