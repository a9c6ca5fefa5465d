use plexus_api::cni::Code;
use plexus_api::rows;
use plexus_api::selection::Selection;

use super::{assert_refused, input, macvlan, names, network, plan};

#[test]
fn an_automatic_name_counts_positions_in_the_whole_list() {
    rows!("K-066");
    let mut input = input();
    macvlan(&mut input, |_| {});
    macvlan(&mut input, |s| s.interface = Some("foo".to_owned()));
    macvlan(&mut input, |_| {});
    assert_eq!(
        names(&plan(&input).expect("a plan")),
        ["eth0", "net1", "foo", "net3"]
    );
}

#[test]
fn a_taken_name_is_refused() {
    rows!("K-033", "K-067", "P-080");
    for name in ["eth0", "lo", "net1"] {
        let mut input = input();
        macvlan(&mut input, |_| {});
        macvlan(&mut input, |s| s.interface = Some(name.to_owned()));
        assert_refused(&input, Code::InterfaceTaken, &[name, "ns/net-a"]);
    }
    let mut input = input();
    macvlan(&mut input, |s| s.interface = Some("net2".to_owned()));
    macvlan(&mut input, |_| {});
    assert_refused(&input, Code::InterfaceTaken, &["net2"]);
    for link in ["eth0", "net1"] {
        let mut input = self::input();
        macvlan(&mut input, |_| {});
        input.links.insert(link.to_owned());
        assert_refused(&input, Code::InterfaceTaken, &[link, "link in the sandbox"]);
    }
}

#[test]
fn the_name_of_the_auxiliary_chain_is_never_taken() {
    let mut input = input();
    input.auxiliary_chain = Some(network("chain", r#"{"type":"tuning"}"#));
    macvlan(&mut input, |s| s.interface = Some("net2".to_owned()));
    assert_eq!(
        names(&plan(&input).expect("a plan")),
        ["eth0", "net2", "net3"]
    );
    input.links.insert("net3".to_owned());
    assert_eq!(
        names(&plan(&input).expect("a plan")),
        ["eth0", "net2", "net4"]
    );
}

#[test]
fn a_replaced_default_network_keeps_the_interface_name_of_the_runtime() {
    rows!("K-063");
    let mut input = input();
    input.runtime_config =
        serde_json::from_str(r#"{"mac":"02:00:00:00:00:09","dns":{}}"#).expect("runtimeConfig");
    input.default_network = network(
        "kube-system/calico",
        r#"{"type":"calico","capabilities":{"mac":true,"dns":true}}"#,
    );
    input.default_selection = Some(Selection {
        interface: Some("x0".to_owned()),
        mac: Some("02:00:00:00:00:01".to_owned()),
        ..Selection::default()
    });
    let plan = plan(&input).expect("a plan");
    assert_eq!(names(&plan), ["eth0"]);
    assert!(
        plan.warnings[0].text.contains("ignored"),
        "{:?}",
        plan.warnings
    );
    assert_eq!(
        plan.attachments[0].capability_args["mac"].get(),
        r#""02:00:00:00:00:01""#
    );
    assert!(plan.attachments[0].capability_args.contains_key("dns"));
}

#[test]
fn only_the_default_network_ignores_a_requested_name() {
    let mut input = input();
    macvlan(&mut input, |s| s.interface = Some("foo".to_owned()));
    assert!(plan(&input).expect("a plan").warnings.is_empty());
}
