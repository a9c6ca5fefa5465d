//! Plexus with reference plugins on dummy links.

use plexus_e2e::ip::{self, Link};
use plexus_e2e::leftovers::leases;
use plexus_e2e::{Node, Plexus, Sandbox};
use serde_json::{Value, json};

/// Evaluates to a [`Plexus`] with these reference plugins, or skips the test if a plugin or a type
/// of link is missing. The node is assigned to `$node`, which the test has declared.
#[macro_export]
macro_rules! start {
    ($node:ident, $links:expr, $plugins:expr) => {{
        let dir = plexus_e2e::or_skip!(plexus_e2e::binaries::plugin_dir($plugins));
        $node = plexus_e2e::node!();
        plexus_e2e::or_skip!($crate::fixture::require_links(&$node, $links));
        $node.real_plugins(&dir, $plugins);
        $crate::fixture::start(&$node)
    }};
}

/// Requires dummy links and links of these types.
///
/// # Errors
/// The type that the kernel does not have. Panics instead in user-mode Linux, which has all.
pub fn require_links(node: &Node, types: &[&str]) -> Result<(), String> {
    let probe = node.sandbox("probe");
    let has = |arguments: &str| {
        let output = probe.run(|| ip::command(arguments).output());
        output.is_ok_and(|output| output.status.success())
    };
    let missing = if has("link add link0 type dummy") {
        types.iter().find(|kind| {
            let parameters = match **kind {
                "vlan" => " id 1",
                "vrf" => " table 1",
                _ => "",
            };
            // The other link is ignored by types that need none.
            !has(&format!(
                "link add link link0 name {kind} type {kind}{parameters}"
            ))
        })
    } else {
        Some(&"dummy")
    };
    probe.remove();
    let Some(kind) = missing else { return Ok(()) };
    let reason = format!("the kernel has no links of type {kind}; make e2e-kernel runs one");
    assert!(std::env::var_os("PLEXUS_E2E_KERNEL").is_none(), "{reason}");
    Err(reason)
}

/// Starts Plexus. A CHECK runs all plugins.
pub fn start(node: &Node) -> Plexus<'_> {
    Plexus::on(node)
        .runtime(json!({"checkPlugins": "all"}))
        .start()
}

/// Adds dummy links to the node, and sets them up.
pub fn dummies(node: &Node, names: &[&str]) {
    for name in names {
        node.ip(&format!("link add {name} type dummy"));
        node.ip(&format!("link set {name} up"));
    }
}

/// The IPAM of a network, by the third number of its subnet.
pub fn host_local(number: u8) -> Value {
    json!({"type": "host-local", "subnet": format!("10.9.{number}.0/24")})
}

/// Asserts that a link in the sandbox has this type, and a parameter with this value.
#[track_caller]
pub fn assert_link(sandbox: &Sandbox<'_>, name: &str, kind: &str, parameter: (&str, &Value)) {
    let details = sandbox.run(|| ip::details(name));
    let info = &details["linkinfo"];
    assert_eq!(info["info_kind"], kind, "{name}: {details}");
    assert_eq!(
        &info["info_data"][parameter.0], parameter.1,
        "{name}: {details}"
    );
}

/// Attaches a pod to `networks`, checks its sandbox and detaches it, and then the same with a kill
/// of plexusd in between. Asserts that nothing is left.
pub fn attach_and_detach(plexus: &mut Plexus<'_>, networks: &str, check: impl Fn(&Sandbox<'_>)) {
    let before = links(plexus.node);
    for is_killed in [false, true] {
        let (sandbox, target) = plexus.attached("pod", networks);
        check(&sandbox);
        plexus.runtime.check(&target).expect_success();
        if is_killed {
            plexus.daemon.kill();
            plexus.daemon.restart();
        }
        plexus.runtime.del(&target).expect_success();
        assert_nothing_left(plexus, &sandbox, &before);
        sandbox.remove();
    }
}

/// Asserts that no link, lease or record is left, and that the node has the links `before`.
#[track_caller]
pub fn assert_nothing_left(plexus: &Plexus<'_>, sandbox: &Sandbox<'_>, before: &[[String; 2]]) {
    plexus.assert_nothing_left(sandbox);
    assert_eq!(leases(plexus.node), [].into());
    assert_eq!(links(plexus.node), before);
}

/// The names and MACs of the links of the node, sorted. A link that comes back gets a new index.
pub fn links(node: &Node) -> Vec<[String; 2]> {
    let names = |link: Link| [link.name, link.mac];
    let mut links: Vec<_> = node.links().into_iter().map(names).collect();
    links.sort();
    links
}
