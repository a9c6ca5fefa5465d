//! Which networks a pod gets: definitions, networks on the node's disk, and those of every pod.

use std::fs;

use plexus_api::rows;
use plexus_e2e::{Node, Pod, node};
use serde_json::{Value, json};

use crate::plexus::{Plexus, attaches, runtime, target, write};

/// A network with one scripted plugin `kind`.
fn single(node: &Node, name: &str, kind: &str) -> Value {
    node.plugin(kind, &attaches());
    json!({"cniVersion": "1.0.0", "name": name, "type": kind})
}

fn list(node: &Node, name: &str, kind: &str) -> Value {
    node.plugin(kind, &attaches());
    json!({"cniVersion": "1.0.0", "name": name, "plugins": [{"type": kind}]})
}

#[test]
fn a_definition_is_its_configuration_or_the_network_of_its_name_on_disk() {
    rows!("K-001", "K-002", "K-003", "K-004");
    let node = node!();
    for (file, config) in [
        (
            "net.d/10-single.conf",
            single(&node, "single", "on-disk-single"),
        ),
        (
            "net.d/20-both.conf",
            single(&node, "both", "on-disk-single"),
        ),
        (
            "net.d/30-both.conflist",
            list(&node, "both", "on-disk-list"),
        ),
        (
            "net.d/40-list.conflist",
            list(&node, "list", "on-disk-list"),
        ),
        ("net.d/50-own.conflist", list(&node, "own", "on-disk-list")),
    ] {
        write(&node, file, &config);
    }
    let plexus = Plexus::configured(
        &node,
        json!({"confDir": node.scratch().join("net.d"), "lookupWait": "20ms"}),
    );
    node.plugin("own", &attaches());
    let own = json!({"cniVersion": "1.0.0", "type": "own"}).to_string();
    let definitions = [
        ("own", Some(own.as_str()), Ok("own")),
        ("single", None, Ok("on-disk-single")),
        ("list", Some(""), Ok("on-disk-list")),
        ("both", None, Ok("on-disk-list")),
        ("nowhere", None, Err(104)),
    ];
    for (name, config, _) in definitions {
        plexus.manifests.definition_in("default", name, config);
    }
    // Wrong where it is there: the file of its name does not step in.
    write(
        &node,
        "net.d/60-wrong.conflist",
        &list(&node, "wrong", "on-disk-list"),
    );
    plexus
        .manifests
        .definition_in("default", "wrong", Some("{"));
    // Another group's resource of the same kind is none of ours.
    let foreign = json!({
        "apiVersion": "example.org/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "foreign", "namespace": "default"}, "spec": {"config": own},
    });
    fs::write(
        plexus.manifests.dir().join("foreign.yaml"),
        foreign.to_string(),
    )
    .expect("it can be written");
    let all = definitions.map(|(name, _, expected)| (name, expected));
    for (name, expected) in all
        .into_iter()
        .chain([("wrong", Err(6)), ("foreign", Err(104))])
    {
        node.forget_calls();
        let sandbox = node.sandbox(name);
        let pod = Pod::new(name).with_networks(name);
        let answer = plexus.runtime.add(&target(&sandbox, &pod));
        match expected {
            Ok(kind) => {
                answer.result();
                assert_eq!(
                    plexus.calls(),
                    ["ADD main eth0".to_owned(), format!("ADD {kind} net1")],
                    "{name}"
                );
                assert_eq!(
                    plexus.status(&pod).expect("status")[1]["name"],
                    format!("default/{name}")
                );
            }
            Err(code) => {
                answer.expect_error(code, &[&format!("\"default/{name}\"")]);
                assert_eq!(plexus.calls(), [""; 0], "{name}");
            }
        }
    }
}

#[test]
fn a_configuration_gets_the_name_of_its_definition() {
    rows!("K-005", "K-006", "K-082");
    let node = node!();
    let plexus = Plexus::start(&node);
    node.plugin("a", &attaches());
    let plugin = json!({"type": "a"});
    for (name, config, called) in [
        (
            "absent",
            json!({"cniVersion": "0.3.0", "type": "a"}),
            "absent",
        ),
        (
            "empty",
            json!({"cniVersion": "1.0.0", "name": "", "type": "a"}),
            "empty",
        ),
        (
            "list",
            json!({"cniVersion": "1.0.0", "plugins": [plugin, plugin]}),
            "list",
        ),
        (
            "other",
            json!({"cniVersion": "1.0.0", "name": "called", "type": "a"}),
            "called",
        ),
    ] {
        plexus.manifests.definition(name, &config);
        let sandbox = node.sandbox(name);
        node.forget_calls();
        let pod = Pod::new(name).with_networks(name);
        let answer = plexus.runtime.add(&target(&sandbox, &pod));
        if name == "list" {
            // The second of them finds the link of the first.
            assert!(!answer.ok());
        } else {
            answer.result();
            assert_eq!(
                plexus.status(&pod).expect("status")[1]["name"],
                format!("default/{name}")
            );
        }
        let calls = plexus.calls_of("ADD");
        assert!(
            calls[1..]
                .iter()
                .all(|call| call.config()["name"] == called),
            "{name}"
        );
    }
}

#[test]
fn the_default_network_is_given_in_many_ways() {
    rows!("K-061", "K-071");
    let node = node!();
    let net_d = write(
        &node,
        "net.d/50-disk.conflist",
        &list(&node, "disk", "disk"),
    );
    let net_d = net_d.parent().expect("it is in a directory");
    write(
        &node,
        "net.d/60-both.conflist",
        &list(&node, "both", "disk"),
    );
    write(
        &node,
        "first.d/00-plexus.conflist",
        &json!({"name": "plexus", "plugins": [{"type": "plexus"}]}),
    );
    write(
        &node,
        "first.d/05-multus.conf",
        &json!({"name": "multus", "type": "multus-shim"}),
    );
    write(&node, "first.d/10-broken.conflist", &json!("broken"));
    let file = write(
        &node,
        "first.d/20-file.conflist",
        &list(&node, "file", "file"),
    );
    write(
        &node,
        "ours.d/00-plexus.conflist",
        &json!({"name": "plexus", "plugins": [{"type": "plexus"}]}),
    );
    let path = |name: &str| {
        node.scratch()
            .join(name)
            .to_str()
            .expect("it is text")
            .to_owned()
    };
    let mut plexus = Plexus::configured(&node, json!({"confDir": net_d}));
    node.plugin("defined", &attaches());
    for name in ["defined", "both"] {
        let config = json!({"cniVersion": "1.0.0", "type": "defined"}).to_string();
        plexus
            .manifests
            .definition_in("kube-system", name, Some(&config));
    }
    for (number, (source, expected)) in [
        (
            "defined".to_owned(),
            Some(("defined", "kube-system/defined")),
        ),
        ("disk".to_owned(), Some(("disk", "disk"))),
        ("both".to_owned(), Some(("defined", "kube-system/both"))),
        (path("first.d"), Some(("file", "file"))),
        (
            file.to_str().expect("it is text").to_owned(),
            Some(("file", "file")),
        ),
        ("nowhere".to_owned(), None),
        (path("ours.d"), None),
        (path("none.d"), None),
    ]
    .into_iter()
    .enumerate()
    {
        plexus
            .daemon
            .configure(&json!({"confDir": net_d, "clusterNetwork": source}));
        plexus.daemon.restart();
        node.forget_calls();
        let pod = Pod::new(&format!("p{number}"));
        let answer = plexus.runtime.add(&plexus.target(&pod));
        let Some((kind, name)) = expected else {
            assert!(
                answer
                    .expect_code(11)
                    .contains("no default network: clusterNetwork"),
                "{source}: {answer:?}"
            );
            continue;
        };
        answer.result();
        assert_eq!(plexus.calls(), [format!("ADD {kind} eth0")], "{source}");
        assert_eq!(
            plexus.status(&pod).expect("status")[0]["name"],
            name,
            "{source}"
        );
    }
}

#[test]
fn literal_delegates_and_networks_of_every_pod() {
    rows!("K-060", "K-066", "K-068");
    let node = node!();
    let plexus = Plexus::configured(
        &node,
        json!({
            "clusterNetwork": null,
            "delegates": [list(&node, "first", "first"), single(&node, "second", "second")],
            "defaultNetworks": ["all"],
        }),
    );
    plexus.network("a", &attaches());
    node.plugin("all", &attaches());
    let config = json!({"cniVersion": "1.0.0", "type": "all"}).to_string();
    plexus
        .manifests
        .definition_in("kube-system", "all", Some(&config));
    let pod = Pod::new("p").with_networks("a");
    plexus
        .runtime
        .add(&target(&node.sandbox("pod"), &pod))
        .result();
    assert_eq!(
        plexus.calls(),
        [
            "ADD first eth0",
            "ADD second net1",
            "ADD all net2",
            "ADD a net3"
        ]
    );
    let names: Vec<_> = plexus
        .status(&pod)
        .expect("status")
        .as_array()
        .expect("a list")
        .iter()
        .map(|of| of["name"].clone())
        .collect();
    assert_eq!(names, ["first", "second", "kube-system/all", "default/a"]);
    node.forget_calls();
    let system = Pod {
        namespace: "kube-system".into(),
        ..Pod::new("p").with_networks("default/a")
    };
    plexus
        .runtime
        .add(&target(&node.sandbox("system"), &system))
        .result();
    assert_eq!(
        plexus.calls(),
        ["ADD first eth0", "ADD second net1", "ADD a net2"]
    );
}

#[test]
fn a_pod_may_replace_its_default_network() {
    rows!("K-062", "K-063");
    const KEY: &str = "v1.multus-cni.io/default-network";
    let node = node!();
    let plexus = Plexus::start(&node);
    for (namespace, kind) in [("kube-system", "system"), ("ns", "other")] {
        node.plugin(kind, &attaches());
        let config =
            json!({"cniVersion": "1.0.0", "type": kind, "capabilities": {"mac": true}}).to_string();
        plexus
            .manifests
            .definition_in(namespace, "calico", Some(&config));
    }
    for (number, (annotation, expected)) in [
        ("calico", Some("system")),
        ("ns/calico", Some("other")),
        (r#"[{"name": "calico"}]"#, Some("system")),
        (
            r#"[{"name": "calico", "interface": "x0", "mac": "02:00:00:00:00:01"}]"#,
            Some("system"),
        ),
        ("calico,ns/calico", None),
        ("", None),
    ]
    .into_iter()
    .enumerate()
    {
        node.forget_calls();
        let pod = Pod::new(&format!("p{number}")).annotated(KEY, annotation);
        let answer = plexus.runtime.add(&plexus.target(&pod));
        let Some(kind) = expected else {
            answer.expect_error(105, &[KEY]);
            continue;
        };
        answer.result();
        assert_eq!(plexus.calls(), [format!("ADD {kind} eth0")], "{annotation}");
        let status = plexus.status(&pod).expect("status");
        assert_eq!(
            (
                status[0]["default"].clone(),
                status.as_array().map(Vec::len)
            ),
            (json!(true), Some(1))
        );
        if annotation.contains("mac") {
            assert_eq!(
                node.calls()[0].config()["runtimeConfig"],
                json!({"mac": "02:00:00:00:00:01"})
            );
        }
    }
}

#[test]
fn keys_on_stdin_count_where_the_file_is_silent() {
    let node = node!();
    let plexus = Plexus::configured(&node, json!({"clusterNetwork": null}));
    let (_, target) = plexus.sandbox("p", "");
    plexus
        .runtime
        .add(&target)
        .expect_error(7, &["clusterNetwork"]);
    let runtime = runtime(&node, json!({"delegates": [list(&node, "own", "own")]}));
    runtime.add(&target).result();
    assert_eq!(plexus.calls(), ["ADD own eth0"]);
}

#[test]
fn the_file_wins_over_stdin() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let runtime = runtime(
        &node,
        json!({"clusterNetwork": "nowhere", "ClusterNetwork": "nowhere"}),
    );
    runtime.add(&plexus.target(&Pod::new("p"))).result();
    assert_eq!(plexus.calls(), ["ADD main eth0"]);
}

#[test]
fn results_make_the_entries_of_the_status() {
    rows!("K-083", "K-084", "K-085", "K-086", "K-087");
    use plexus_e2e::Step;
    let node = node!();
    let plexus = Plexus::start(&node);
    let main = json!({
        "cniVersion": "$CNIVERSION",
        "interfaces": [
            {"name": "veth0", "mac": "02:00:00:00:00:01"},
            {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "$NETNS"},
            {"name": "other", "mac": "02:00:00:00:00:03", "sandbox": "$NETNS"},
        ],
        "ips": [
            {"address": "10.1.2.3/24", "interface": 1},
            {"address": "2001:db8::3/64", "gateway": "2001:db8::1", "interface": 2},
        ],
        "routes": [{"dst": "::/0", "gw": "2001:db8::1"}],
    });
    node.plugin(
        "main",
        &attaches().on("ADD", [Step::Link("bridge".into()), Step::Result(main)]),
    );
    plexus.network(
        "a",
        &attaches().on(
            "ADD",
            [Step::Link("bridge".into()), Step::Result(json!({}))],
        ),
    );
    let pod = Pod::new("p").with_networks("a");
    let sandbox = node.sandbox("pod");
    sandbox.ip("link add other type bridge");
    plexus.runtime.add(&target(&sandbox, &pod)).result();
    let expected = json!([
        {"name": "pods", "interface": "eth0", "ips": ["10.1.2.3"], "mac": "02:00:00:00:00:02", "dns": {},
         "gateway": ["2001:db8::1"]},
        {"name": "pods", "interface": "other", "ips": ["2001:db8::3"], "mac": "02:00:00:00:00:03", "default": true,
         "dns": {}, "gateway": ["2001:db8::1"]},
        {"name": "default/a", "interface": "net1", "dns": {}},
    ]);
    assert_eq!(plexus.status(&pod).expect("status"), expected);
}

#[test]
fn a_network_named_like_the_runtime_s_own_shares_no_record_with_it() {
    rows!("R-082");
    let node = node!();
    let plexus = Plexus::start(&node);
    // The runtime keeps results of its own network by this name, container and interface.
    let own = "/var/lib/cni/results";
    let pod = Pod::new("web").with_networks("like");
    plexus.manifests.pod(&pod);
    node.plugin("like", &attaches());
    plexus.manifests.definition(
        "like",
        &json!({"cniVersion": "1.0.0", "name": "plexus", "type": "like"}),
    );
    let sandbox = node.sandbox("web");
    let cached = format!("{own}/plexus-{}-net1", sandbox.id());
    node.run(|| {
        fs::create_dir_all(own).expect("the runtime's directory");
        fs::write(&cached, "the runtime's").expect("the runtime's cache");
    });
    let target = target(&sandbox, &pod);
    plexus.runtime.add(&target).result();
    plexus.runtime.check(&target).expect_silence();
    plexus.runtime.del(&target).expect_silence();
    assert_eq!(
        node.run(|| fs::read_to_string(&cached).ok()).as_deref(),
        Some("the runtime's")
    );
    assert_eq!(node.run(|| fs::read_dir(own).map_or(0, Iterator::count)), 1);
    plexus.assert_nothing_left(&sandbox);
}
