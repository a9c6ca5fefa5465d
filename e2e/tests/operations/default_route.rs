//! Default routes are moved in the kernel, and results and network-status show them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use plexus_api::rows;
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::{Node, Plexus, Pod, Sandbox, Step, attaches, ip, node, or_skip};
use serde_json::{Value, json};

/// The default routes in the sandbox as `family gateway interface`.
fn defaults(sandbox: &Sandbox<'_>) -> BTreeSet<String> {
    let routes = sandbox
        .routes()
        .into_iter()
        .filter(|route| route.dst == "default");
    routes
        .map(|route| {
            let gateway = route.gateway.unwrap_or_default();
            format!(
                "{} {gateway} {}",
                if gateway.contains(':') { 6 } else { 4 },
                route.dev.unwrap_or_default()
            )
        })
        .collect()
}

/// The gateways of the default routes in a result or in an entry of network-status.
fn gateways(result: &Value) -> BTreeSet<String> {
    let routes = result["routes"].as_array().cloned().unwrap_or_default();
    let defaults = routes
        .iter()
        .filter(|route| route["dst"] == "0.0.0.0/0" || route["dst"] == "::/0");
    let of_routes = defaults.filter_map(|route| route["gw"].as_str());
    let of_status = result["gateway"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    of_routes.chain(of_status).map(str::to_owned).collect()
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

/// Plexus with the reference plugins: a dual-stack bridge with both default routes, and the
/// definition `second`.
fn dual_stack<'n>(node: &'n Node, dir: &Path, plugins: &[&str], second: &Value) -> Plexus<'n> {
    node.real_plugins(dir, plugins);
    node.uplink("uplink0");
    let bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.7.0.0/24"}], [{"subnet": "fd07::/64"}]],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.7.0.1"}, {"dst": "::/0", "gw": "fd07::1"}],
        },
    });
    let default = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]});
    let plexus = Plexus::on(node).default_network(default).start();
    plexus.manifests.definition("second", second);
    plexus
}

fn macvlan(routes: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "type": "macvlan", "master": "uplink0",
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.8.0.0/24"}], [{"subnet": "fd08::/64"}]],
            "routes": routes,
        },
    })
}

/// Attaches `pod`, asserts that kernel, result, status and record have the default routes
/// `expected`, and detaches the pod.
fn assert_default_routes(plexus: &Plexus<'_>, pod: &Pod, expected: &[&str]) {
    let sandbox = plexus.node.sandbox(&pod.name);
    // The plugins would wait for duplicate address detection. Writing fails in some containers.
    let _ = sandbox.run(|| fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0"));
    let target = sandbox.target(pod);
    let output = plexus.runtime.add(&target);
    output.result();
    assert_eq!(defaults(&sandbox), set(expected), "{}", pod.name);
    let of = |ifname: &str| -> BTreeSet<String> {
        let own = expected
            .iter()
            .filter(|route| route.ends_with(&format!(" {ifname}")));
        own.filter_map(|route| route.split(' ').nth(1))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        gateways(output.result()),
        of("eth0"),
        "{}: {output:?}",
        pod.name
    );
    for entry in plexus
        .network_status(pod)
        .expect("status")
        .as_array()
        .expect("a list")
    {
        assert_eq!(
            gateways(entry),
            of(entry["interface"].as_str().expect("a name")),
            "{}: {entry}",
            pod.name
        );
    }
    // A result is recorded again only if its routes have changed.
    let record = plexus.record();
    let mut results: Vec<_> = record
        .lines()
        .filter(|line| line.starts_with("{\"added\""))
        .collect();
    let written = results.len();
    results.sort_unstable();
    results.dedup();
    assert_eq!(results.len(), written, "{}: {record}", pod.name);
    // The plugins compare the recorded result with the kernel.
    let runtime = plexus.runtime_with(json!({"checkPlugins": "all"}));
    runtime.check(&target).expect_success();
    plexus.runtime.del(&target).expect_success();
    sandbox.remove();
}

/// Asserts the default routes of pods on a bridge and a macvlan.
fn assert_routes_with_macvlan(node: &Node, dir: &Path, pods: &[(&str, &str, [&str; 2])]) {
    let plexus = dual_stack(node, dir, &MACVLAN, &macvlan(&json!([])));
    for (name, networks, expected) in pods {
        assert_default_routes(&plexus, &Pod::new(name).with_networks(*networks), expected);
    }
}

const MACVLAN: [&str; 3] = ["bridge", "macvlan", "host-local"];

#[test]
fn the_default_route_of_one_family_moves_to_the_attachment_that_requests_it() {
    rows!("K-041", "K-042");
    let dir = or_skip!(plugin_dir(&MACVLAN));
    let pods = [
        (
            "v4",
            r#"[{"name": "second", "default-route": ["10.8.0.9"]}]"#,
            ["4 10.8.0.9 net1", "6 fd07::1 eth0"],
        ),
        (
            "v6",
            r#"[{"name": "second", "default-route": ["fd08::9"]}]"#,
            ["4 10.7.0.1 eth0", "6 fd08::9 net1"],
        ),
    ];
    assert_routes_with_macvlan(&node!(), &dir, &pods);
}

#[test]
fn both_default_routes_can_move() {
    rows!("K-041", "K-042");
    let dir = or_skip!(plugin_dir(&MACVLAN));
    let (v4, v6) = (
        r#""default-route": ["10.8.0.9"]"#,
        r#""default-route": ["fd08::9"]"#,
    );
    let split = format!(r#"[{{"name": "second", {v6}}}, {{"name": "second", {v4}}}]"#);
    let one = r#"[{"name": "second", "default-route": ["fd08::9", "10.8.0.9"]}]"#;
    let pods = [
        ("one", one, ["4 10.8.0.9 net1", "6 fd08::9 net1"]),
        (
            "split",
            split.as_str(),
            ["4 10.8.0.9 net2", "6 fd08::9 net1"],
        ),
    ];
    assert_routes_with_macvlan(&node!(), &dir, &pods);
}

#[test]
fn no_default_route_moves_without_a_request() {
    rows!("K-041");
    let dir = or_skip!(plugin_dir(&MACVLAN));
    let stay = ["4 10.7.0.1 eth0", "6 fd07::1 eth0"];
    let pods = [
        ("none", r#"[{"name": "second"}]"#, stay),
        // The attachment has no default route, so the others keep theirs.
        (
            "empty",
            r#"[{"name": "second", "default-route": []}]"#,
            stay,
        ),
    ];
    assert_routes_with_macvlan(&node!(), &dir, &pods);
}

#[test]
fn an_empty_list_keeps_the_default_route_of_its_network() {
    rows!("K-041", "K-042");
    let plugins = ["bridge", "ptp", "host-local"];
    let dir = or_skip!(plugin_dir(&plugins));
    let node = node!();
    let ipam = json!({
        "type": "host-local", "ranges": [[{"subnet": "10.8.0.0/24"}], [{"subnet": "fd08::/64"}]],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.8.0.1"}],
    });
    let second = json!({"cniVersion": "1.0.0", "type": "ptp", "ipam": ipam});
    let plexus = dual_stack(&node, &dir, &plugins, &second);
    let pod = Pod::new("p").with_networks(r#"[{"name": "second", "default-route": []}]"#);
    assert_default_routes(&plexus, &pod, &["4 10.8.0.1 net1", "6 fd07::1 eth0"]);
}

#[test]
fn routes_in_other_tables_and_more_specific_routes_are_kept() {
    rows!("K-042", "P-097");
    let node = node!();
    let plexus = Plexus::start(&node);
    // The commands of a plugin, whose result contains some of these routes.
    let run = |command: &str| {
        let words: Vec<_> = format!("ip -n pod {command}")
            .split(' ')
            .map(str::to_owned)
            .collect();
        Step::Run(words)
    };
    let result = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eth0", "sandbox": "$NETNS"}],
        "ips": [{"address": "10.7.0.2/24", "gateway": "10.7.0.1", "interface": 0}],
        "routes": [
            {"dst": "0.0.0.0/0", "gw": "10.7.0.1"},
            {"dst": "0.0.0.0/0", "gw": "10.7.0.1", "table": 100},
            {"dst": "0.0.0.0/1", "gw": "10.7.0.1"},
        ],
    });
    let main = [
        Step::link(),
        run("addr add 10.7.0.2/24 dev eth0"),
        run("link set eth0 up"),
        run("route add 0.0.0.0/0 via 10.7.0.1"),
        run("route add default via 10.7.0.1 table 100"),
        run("route add 0.0.0.0/1 via 10.7.0.1"),
        Step::Result(result),
    ];
    node.plugin("main", &attaches().on("ADD", main));
    let second = [
        Step::link(),
        run("addr add 10.8.0.2/24 dev net1"),
        run("link set net1 up"),
    ];
    plexus.network("a", &attaches().on("ADD", second));
    let sandbox = node.sandbox("pod");
    let pod = Pod::new("p").with_networks(r#"[{"name": "a", "default-route": ["10.8.0.1"]}]"#);
    let target = sandbox.target(&pod);
    let output = plexus.runtime.add(&target);
    let expected = json!([
        {"dst": "0.0.0.0/0", "gw": "10.7.0.1", "table": 100},
        {"dst": "0.0.0.0/1", "gw": "10.7.0.1"},
    ]);
    assert_eq!(output.result()["routes"], expected);
    assert_eq!(defaults(&sandbox), set(&["4 10.8.0.1 net1"]));
    assert!(
        sandbox
            .routes()
            .iter()
            .any(|route| route.dst == "0.0.0.0/1" && route.dev.as_deref() == Some("eth0"))
    );
    let table = sandbox
        .run(|| ip::command("route show table 100").output())
        .expect("execute ip");
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("default via 10.7.0.1 dev eth0"), "{table}");
    assert_eq!(
        plexus.network_status(&pod).expect("status")[1]["gateway"],
        json!(["10.8.0.1"])
    );

    plexus.runtime.check(&target).expect_success();
    sandbox.ip("route del default");
    plexus
        .runtime
        .check(&target)
        .expect_error(108, &["net1", "default route"]);
}

#[test]
fn two_gateways_of_one_family_are_rejected() {
    rows!("K-040");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let sandbox = node.sandbox("pod");
    for networks in [
        r#"[{"name": "a", "default-route": ["10.8.0.1", "10.8.0.2"]}]"#,
        r#"[{"name": "a", "default-route": ["10.8.0.1"]}, {"name": "a", "default-route": ["10.8.0.2"]}]"#,
        r#"[{"name": "a", "default-route": []}, {"name": "a", "default-route": []}]"#,
    ] {
        plexus
            .runtime
            .add(&sandbox.target(&Pod::new("p").with_networks(networks)))
            .expect_error(105, &["default/a", "default-route"]);
        assert_eq!(plexus.calls(), [""; 0]);
    }
}

#[test]
fn a_gateway_that_is_the_address_of_the_pod_is_rejected() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let steps = [Step::link(), Step::result("10.8.0.2/24", "")];
    plexus.network("a", &attaches().on("ADD", steps));
    let sandbox = node.sandbox("pod");
    let pod = Pod::new("p").with_networks(r#"[{"name": "a", "default-route": ["10.8.0.2"]}]"#);
    plexus
        .runtime
        .add(&sandbox.target(&pod))
        .expect_error(109, &["default/a", "10.8.0.2", "own address"]);
}
