//! DEL uses the record alone and can be repeated.

use plexus_api::rows;
use plexus_e2e::{CniTarget, Flavour, Plexus, Pod, Runtime, Script, Step, attaches, node};
use serde_json::json;

#[test]
fn del_can_be_repeated() {
    rows!("P-036", "P-087", "P-114", "R-066");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.attached("p", "a");
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
    plexus.runtime.del(&target).expect_success();
    let without_netns = target.without_netns();
    plexus.runtime.del(&without_netns).expect_success();
    // Only the first DEL calls plugins.
    assert_eq!(plexus.calls()[2..], ["DEL a net1", "DEL main eth0"]);
}

#[test]
fn del_accepts_any_netns_and_passes_it_to_plugins() {
    rows!("P-014");
    let node = node!();
    let plexus = Plexus::start(&node);
    // The plugins do not open the path.
    plexus.network("a", &attaches().on("DEL", []));
    node.plugin("main", &attaches().on("DEL", []));
    let file = node.scratch().join("file");
    node.write(&file, "");
    for (name, netns) in [
        ("unset", None),
        ("empty", Some("")),
        ("missing", Some("/run/netns/was-here")),
        ("file", file.to_str()),
    ] {
        let (_, target) = plexus.attached(name, "a");
        node.forget_calls();
        let target = target.with_env("CNI_NETNS", netns);
        plexus.runtime.del(&target).expect_success();
        assert_eq!(plexus.calls(), ["DEL a net1", "DEL main eth0"], "{name}");
        for call in node.calls() {
            assert_eq!(call.env("CNI_NETNS"), netns.unwrap_or_default(), "{name}");
        }
    }
    assert_eq!(plexus.records(), [""; 0]);
}

#[test]
fn check_and_del_need_neither_the_pod_nor_the_definition() {
    rows!("P-018", "P-093", "R-069", "R-080");
    let node = node!();
    let mut plexus = Plexus::start_with(&node, json!({"checkPlugins": "all"}));
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.attached("p", "a");
    let adds = plexus.calls_of("ADD");
    // Another pod of the same name and another definition, for a daemon that has just started.
    let other = Pod::new("p").with_uid("another").with_networks("b,b");
    plexus.manifests.pod(&other);
    plexus.manifests.definition(
        "a",
        &json!({"cniVersion": "1.0.0", "type": "a", "edited": true}),
    );
    plexus.daemon.restart();
    plexus.runtime.check(&target).expect_success();
    plexus.manifests.remove_definition("a");
    plexus.daemon.restart();
    let without_pod = CniTarget {
        pod: None,
        ..target.clone()
    };
    plexus.runtime.del(&without_pod).expect_success();
    let later = [plexus.calls_of("CHECK"), plexus.calls_of("DEL")].concat();
    for call in later {
        let name = call.summary();
        let add = adds.iter().find(|add| add.plugin == call.plugin);
        let add = add.expect("the ADD of the plugin");
        let mut config = call.config();
        let result = config.as_object_mut().expect("an object");
        let result = result.remove("prevResult").expect("prevResult");
        let ifname = call.env("CNI_IFNAME");
        assert_eq!(result["interfaces"][0]["name"], ifname, "{name}");
        assert_eq!(config, add.config(), "{name}");
        assert_eq!(call.env("CNI_ARGS"), add.env("CNI_ARGS"), "{name}");
    }
    assert_eq!(plexus.calls()[4..], ["DEL a net1", "DEL main eth0"]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn del_of_a_rejected_interface_keeps_the_others_of_its_container() {
    rows!("P-088");
    let node = node!();
    let mut plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let sandbox = node.sandbox("pod");
    let pod = Pod::new("p").with_networks("a");
    let (first, second) = (sandbox.target(&pod), sandbox.interface("eth1", &pod));
    plexus.runtime.add(&first).result();
    plexus.runtime.add(&second).expect_code(103);
    // A runtime sends DEL after a failed ADD. The restarted daemon does not know that it has
    // rejected that ADD.
    plexus.daemon.restart();
    plexus.runtime.del(&second).expect_success();
    // net1 belongs to the first interface.
    assert_eq!(plexus.calls()[2..], ["DEL main eth1"]);
    plexus.runtime.check(&first).expect_success();
    plexus.runtime.del(&first).expect_success();
    assert_eq!(plexus.records(), [""; 0]);
}

#[test]
fn del_after_a_rejected_add_keeps_the_existing_link() {
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.sandbox("p", "a");
    sandbox.ip("link add net1 type bridge");
    plexus.runtime.add(&target).expect_code(103);
    plexus.runtime.del(&target).expect_success();
    assert!(sandbox.link("net1").is_some());
    assert_eq!(plexus.calls(), [""; 0]);
}

#[test]
fn del_succeeds_with_an_invalid_setting_on_stdin() {
    rows!("P-087");
    let node = node!();
    let plexus = Plexus::start(&node);
    let (sandbox, target) = plexus.attached("p", "");
    let runtime = plexus.runtime_with(json!({"pluginTimeout": "soon"}));
    let check = runtime.check(&target);
    check.expect_error(2, &["pluginTimeout"]);
    runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn each_interface_of_the_runtime_has_its_own_record() {
    rows!("C-01", "R-089");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let sandbox = node.sandbox("pod");
    let one = sandbox.target(&Pod::new("p").with_networks("a@x0"));
    let two = sandbox.interface("eth1", &Pod::new("p").with_networks("a@x1"));
    plexus.runtime.add(&one).result();
    plexus.runtime.add(&two).result();
    node.forget_calls();
    plexus.runtime.del(&one).expect_success();
    assert_eq!(plexus.calls(), ["DEL a x0", "DEL main eth0"]);
    plexus.runtime.check(&two).expect_success();
    node.forget_calls();
    plexus.runtime.del(&two).expect_success();
    assert_eq!(plexus.calls(), ["DEL a x1", "DEL main eth1"]);
}

#[test]
fn del_without_a_record_uses_the_pod_of_the_same_uid_or_the_default_network() {
    rows!("P-088");
    let node = node!();
    let mut plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let [known, replaced] = ["known", "replaced"].map(|name| Pod::new(name).with_networks("a"));
    plexus.manifests.pod(&known);
    plexus.manifests.pod(&replaced.with_uid("another"));
    plexus.daemon.restart();
    let runtime = plexus.runtime_with(json!({"capabilities": null}));
    for (name, expected) in [
        ("known", vec!["DEL a net1", "DEL main eth0"]),
        ("replaced", vec!["DEL main eth0"]),
        ("unknown", vec!["DEL main eth0"]),
    ] {
        node.forget_calls();
        let target = plexus.target(&Pod::new(name));
        runtime.del(&target).expect_success();
        assert_eq!(plexus.calls(), expected, "{name}");
    }
    // Without a record a failed plugin does not fail the DEL.
    node.plugin("main", &Script::new().fails("DEL", 7, "what is this?"));
    let target = plexus.target(&Pod::new("failing"));
    runtime.del(&target).expect_success();
}

#[test]
fn del_without_a_record_omits_only_the_networks_that_are_unknown_or_refused() {
    rows!("P-088");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"allowedPluginTypes": ["a", "c"]}));
    plexus.networks(&["a", "b", "c"]);
    plexus
        .manifests
        .definition_in("default", "broken", Some("{"));
    for (name, networks, expected) in [
        ("missing", "missing", vec!["DEL main eth0"]),
        ("forbidden", "b", vec!["DEL main eth0"]),
        ("invalid-annotation", "a,,!", vec!["DEL main eth0"]),
        // The names of the others count those that are not known.
        (
            "mixed",
            "a,missing,b,broken,c,c@eth0",
            vec!["DEL c net5", "DEL a net1", "DEL main eth0"],
        ),
    ] {
        node.forget_calls();
        let target = plexus.target(&Pod::new(name).with_networks(networks));
        plexus.runtime.del(&target).expect_success();
        assert_eq!(plexus.calls(), expected, "{name}");
    }
    // Without the default network that the pod names, the pod had that of the node.
    for named in ["missing", "b", "a,b"] {
        node.forget_calls();
        let pod = Pod::new(&format!("default-{}", named.len()))
            .with_networks("c")
            .annotated(
                "v1.multus-cni.io/default-network",
                format!("default/{named}"),
            );
        plexus.runtime.del(&plexus.target(&pod)).expect_success();
        assert_eq!(plexus.calls(), ["DEL c net1", "DEL main eth0"], "{named}");
    }
    let runtime = plexus.runtime_with(json!({"runtimeConfig": 7}));
    node.forget_calls();
    let target = plexus.target(&Pod::new("no-arguments"));
    runtime.del(&target).expect_success();
    assert_eq!(plexus.calls(), ["DEL main eth0"]);
}

#[test]
fn a_del_whose_caller_was_killed_is_completed() {
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.attached("p", "a");
    let gate = node.gate("a");
    node.plugin("a", &attaches().on("DEL", [gate.step(), Step::Unlink]));
    let running = plexus.runtime.start("DEL", &target);
    let held = gate.wait();
    running.kill();
    held.release();
    plexus.wait_records(&[]);
    plexus.runtime.del(&target).expect_success();
    assert_eq!(plexus.calls()[2..], ["DEL a net1", "DEL main eth0"]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn pods_start_and_stop_under_both_runtimes() {
    rows!("P-087", "P-096");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    for (flavour, name) in [(Flavour::Containerd, "containerd"), (Flavour::Crio, "crio")] {
        let runtime = Runtime::of_shim(&node, flavour, json!({}));
        let sandbox = node.sandbox(name);
        let pod = Pod::new(name).with_networks("a");
        runtime.run_pod(&sandbox, &pod).result();
        runtime.stop_pod(&sandbox, &pod).expect_success();
        assert_eq!(plexus.records(), [""; 0]);
        node.plugin("a", &attaches().fails("ADD", 120, "full"));
        let sandbox = node.sandbox(name);
        runtime.run_pod(&sandbox, &pod).expect_code(120);
        assert_eq!(plexus.records(), [""; 0]);
        node.plugin("a", &attaches());
    }
}
