//! The bench itself: that its nodes are apart, that its plugins do what their scripts say, and that its runtimes call
//! as containerd and CRI-O do. The plugin that the runtimes execute here is a CNI plugin in the shim's place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;

use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::{Flavour, Node, Pod, Runtime, Script, Step, Stream, Target, node, or_skip};
use serde_json::{Value, json};

/// A runtime that executes the scripted plugin `fake` directly.
fn scripted<'n>(node: &'n Node, flavour: Flavour, script: &Script) -> Runtime<'n> {
    node.plugin("fake", script);
    let config = json!({"cniVersion": "1.0.0", "name": "net", "type": "fake"});
    Runtime::new(node, flavour, node.bin_dir().join("fake"), config)
}

#[test]
fn nodes_are_apart() {
    let (one, two) = (node!(), node!());
    let machine = std::fs::read_dir("/sys/class/net")
        .map(|links| links.flatten().count())
        .unwrap_or_default();
    for (node, address) in [(&one, "10.9.0.1/24"), (&two, "10.9.0.2/24")] {
        node.ip("link add br0 type bridge");
        node.ip(&format!("addr add {address} dev br0"));
        node.run(|| std::fs::write("/var/lib/cni/mark", address).expect("it can be written"));
        node.run(|| std::fs::write("/run/mark", address).expect("it can be written"));
    }
    for (node, address) in [(&one, "10.9.0.1/24"), (&two, "10.9.0.2/24")] {
        let links = node.links();
        assert_eq!(
            links
                .iter()
                .map(|link| link.name.as_str())
                .collect::<Vec<_>>(),
            ["lo", "br0"]
        );
        assert!(links[0].up && !links[1].up, "{links:?}");
        assert_eq!(links[1].addresses, [address]);
        for file in ["/var/lib/cni/mark", "/run/mark"] {
            let text = node.run(|| std::fs::read_to_string(file).expect("it is there"));
            assert_eq!(text, address);
        }
    }
    assert!(!PathBuf::from("/run/mark").exists() && !PathBuf::from("/var/lib/cni/mark").exists());
    let after = std::fs::read_dir("/sys/class/net")
        .map(|links| links.flatten().count())
        .unwrap_or_default();
    assert_eq!(machine, after, "links of the machine");
}

#[test]
fn what_is_in_var_lib_stays_readable() {
    let node = node!();
    let names = || {
        let entries = std::fs::read_dir("/var/lib")
            .expect("it is there")
            .flatten();
        entries
            .map(|entry| entry.file_name().into_string().unwrap_or_default())
            .collect::<Vec<_>>()
    };
    let mut expected = names();
    expected.extend(["cni".to_owned(), "plexus".to_owned()]);
    expected.sort();
    expected.dedup();
    let mut found = node.run(names);
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_removed_sandbox_leaves_nothing() {
    let node = node!();
    let sandbox = node.sandbox("pod");
    assert_ne!(sandbox.inode(), node.sandbox("other").inode());
    sandbox.ip("link add data0 type bridge");
    sandbox.ip("addr add 10.8.0.1/24 dev data0");
    sandbox.ip("link set data0 up");
    let link = sandbox.link("data0").expect("it was made");
    assert!(
        link.up && link.addresses == ["10.8.0.1/24"] && link.mac.len() == 17,
        "{link:?}"
    );
    assert!(
        sandbox
            .routes()
            .iter()
            .any(|route| route.dst == "10.8.0.0/24" && route.dev.as_deref() == Some("data0"))
    );
    assert_eq!(node.links().len(), 1, "the node does not see it");
    sandbox.remove();
    sandbox.remove();
    let (names, mounts) = node.run(|| {
        let names = std::fs::read_dir("/run/netns")
            .expect("it is there")
            .flatten()
            .map(|entry| entry.file_name());
        (
            names.collect::<Vec<_>>(),
            std::fs::read_to_string("/proc/thread-self/mountinfo").expect("it is there"),
        )
    });
    assert_eq!(names, ["other"]);
    assert!(!mounts.contains("/run/netns/pod "), "{mounts}");
    node.sandbox("pod");
}

#[test]
fn a_nodes_processes_end_with_it() {
    let node = node!();
    let gate = node.gate("here");
    let script = Script::new().on("ADD", [Step::HoldOutput, gate.step(), Step::Hang]);
    let runtime = scripted(&node, Flavour::Containerd, &script);
    let running = runtime.start(
        "ADD",
        &Target::new(&node.sandbox("pod"), "eth0", &Pod::new("p")),
    );
    gate.wait().release();
    let processes = node.processes();
    assert_eq!(
        processes.len(),
        2,
        "the plugin and what it left behind: {processes:?}"
    );
    drop(node);
    let answer = running.wait();
    assert_eq!(answer.exit, None, "killed: {answer:?}");
}

#[test]
fn a_call_is_written_down() {
    let node = node!();
    let sandbox = node.sandbox("pod");
    let runtime = scripted(&node, Flavour::Containerd, &Script::new());
    let pod = Pod::new("p").annotated("a", "b");
    let target = Target::new(&sandbox, "eth7", &pod)
        .with_arg("FOO", "1")
        .with_env("TRACEPARENT", Some("t"));
    let answer = runtime.add(&target);
    assert_eq!(
        answer.result()["interfaces"],
        json!([{"name": "eth7", "sandbox": sandbox.path()}])
    );
    runtime.check(&target).expect_silence();
    runtime.del(&target).expect_silence();
    runtime.del(&target.without_netns()).expect_silence();
    let calls = node.calls();
    let verbs: Vec<_> = calls.iter().map(plexus_e2e::Call::summary).collect();
    assert_eq!(
        verbs,
        [
            "ADD fake eth7",
            "CHECK fake eth7",
            "DEL fake eth7",
            "DEL fake eth7"
        ]
    );
    let add = &calls[0];
    assert_eq!(add.env("CNI_CONTAINERID"), sandbox.id());
    assert_eq!(
        (add.env("CNI_NETNS"), add.env("TRACEPARENT")),
        (sandbox.path(), "t")
    );
    assert_eq!(
        add.config(),
        json!({"cniVersion": "1.0.0", "name": "net", "type": "fake"})
    );
    assert_eq!(calls[1].config()["prevResult"], *answer.result());
    assert_eq!(
        (
            calls[2].config().get("prevResult").is_some(),
            calls[3].config().get("prevResult")
        ),
        (true, None)
    );
    assert_eq!(calls[3].env("CNI_NETNS"), "");
    assert!(
        add.end
            .is_some_and(|end| end >= add.start && end <= calls[1].start),
        "{calls:?}"
    );
    assert_eq!(add.leaked_fds(), BTreeMap::new());
    assert_ne!(add.netns, sandbox.inode());
    let orders: Vec<_> = calls.iter().map(|call| call.env("CNI_ARGS")).collect();
    assert_ne!(orders[0], orders[1], "the order varies");
    let sorted = |args: &str| {
        args.split(';')
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(sorted(orders[0]), sorted(orders[1]));
    assert!(
        sorted(orders[0]).contains("FOO=1") && sorted(orders[0]).contains("K8S_POD_NAME=p"),
        "{orders:?}"
    );
}

#[test]
fn capability_arguments_need_their_capability() {
    let node = node!();
    node.plugin("fake", &Script::new());
    let capabilities = json!({"io.kubernetes.cri.pod-annotations": true, "mac": false});
    let config =
        json!({"cniVersion": "1.0.0", "name": "net", "type": "fake", "capabilities": capabilities});
    let runtime = Runtime::new(
        &node,
        Flavour::Containerd,
        node.bin_dir().join("fake"),
        config,
    );
    let pod = Pod::new("p").annotated("a", "b");
    let target = Target::new(&node.sandbox("pod"), "eth0", &pod)
        .with_capability("mac", json!("02:00:00:00:00:01"));
    runtime.add(&target).result();
    let config = node.calls()[0].config();
    assert_eq!(
        config["runtimeConfig"],
        json!({"io.kubernetes.cri.pod-annotations": {"a": "b"}})
    );
    assert_eq!(config["capabilities"], capabilities, "libcni leaves it");
}

#[test]
fn verbs_without_a_container() {
    let node = node!();
    let runtime = scripted(
        &node,
        Flavour::Containerd,
        &Script::new().fails("STATUS", 50, "not yet"),
    );
    assert_eq!(runtime.status().expect_code(50), "not yet");
    runtime.gc(&[("id", "eth0")]).expect_silence();
    assert_eq!(runtime.version().result()["supportedVersions"][6], "1.1.0");
    let calls = node.calls();
    assert_eq!(calls[0].env("CNI_CONTAINERID"), "");
    let valid = json!([{"containerID": "id", "ifname": "eth0"}]);
    assert_eq!(
        (
            &calls[1].config()["cni.dev/valid-attachments"],
            &calls[1].config()["cni.dev/attachments"]
        ),
        (&valid, &valid)
    );
}

#[test]
fn plugins_follow_their_scripts() {
    let node = node!();
    let sandbox = node.sandbox("pod");
    let runtime = scripted(&node, Flavour::Containerd, &Script::new());
    let target = Target::new(&sandbox, "eth0", &Pod::new("p"));
    let add = |steps: Vec<Step>| {
        node.plugin("fake", &Script::new().on("ADD", steps));
        runtime.add(&target)
    };

    let answer = add(vec![Step::result("10.0.0.2/24", "10.0.0.1")]);
    assert_eq!(answer.result()["cniVersion"], "1.0.0");
    assert_eq!(
        answer.result()["routes"],
        json!([{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}])
    );

    let answer = add(vec![Step::Stderr("log".into()), Step::error(11, "busy")]);
    assert_eq!(answer.expect_code(11), "busy");
    assert_eq!(answer.stderr.trim(), "log");

    let answer = add(vec![Step::Stdout("garbage".into()), Step::Exit(3)]);
    assert_eq!((answer.exit, answer.stdout.as_str()), (Some(3), "garbage"));

    let answer = add(vec![Step::Exit(0)]);
    assert_eq!((answer.exit, answer.stdout.as_str()), (Some(0), ""));

    let answer = add(vec![Step::Signal(9)]);
    assert_eq!((answer.exit, answer.stdout.as_str()), (None, ""));
    assert_eq!(node.calls().last().expect("it was called").end, None);

    let answer = add(vec![Step::Flood(Stream::Stdout, 3_000_000)]);
    assert_eq!((answer.exit, answer.stdout.len()), (Some(0), 3_000_000));

    let answer = add(vec![Step::IgnoreStdin, Step::Result(json!({}))]);
    assert!(answer.ok() && node.calls().last().expect("it was called").stdin.is_empty());

    let marker = node.scratch().join("marker");
    add(vec![Step::Run(vec![
        "touch".into(),
        marker.to_string_lossy().into(),
    ])])
    .result();
    assert!(marker.exists());
    assert!(
        add(vec![Step::Run(vec!["false".into()])])
            .expect_code(999)
            .contains("false")
    );

    add(vec![Step::Link("bridge".into())]).result();
    assert!(sandbox.link("eth0").is_some());
    node.plugin("fake", &Script::new().on("DEL", [Step::Unlink]));
    runtime.del(&target).expect_silence();
    assert!(sandbox.link("eth0").is_none());
    runtime.del(&target).expect_silence();
    runtime.del(&target.without_netns()).expect_silence();
}

#[test]
fn a_gate_holds_a_plugin() {
    let node = node!();
    let gate = node.gate("middle");
    let runtime = scripted(
        &node,
        Flavour::Containerd,
        &Script::new().on("ADD", [gate.step()]),
    );
    let running = runtime.start(
        "ADD",
        &Target::new(&node.sandbox("pod"), "eth0", &Pod::new("p")),
    );
    let held = gate.wait();
    let calls = node.calls();
    assert!(calls.len() == 1 && calls[0].end.is_none(), "{calls:?}");
    held.release();
    running.wait().result();
    assert!(node.calls()[0].end.is_some());
    let running = runtime.start(
        "ADD",
        &Target::new(&node.sandbox("pod2"), "eth0", &Pod::new("p")),
    );
    let _held = gate.wait();
    assert_eq!(running.kill().exit, None);
}

#[test]
fn runtimes_end_a_pod_each_in_its_way() {
    let node = node!();
    let exists = |name: &str| node.run(|| PathBuf::from(format!("/run/netns/{name}")).exists());
    let mut summaries = BTreeMap::new();
    for (flavour, name) in [(Flavour::Containerd, "containerd"), (Flavour::Crio, "crio")] {
        let pod = Pod::new(name);
        let mut seen = Vec::new();
        let mut note = |node: &Node| {
            let calls = node.calls();
            seen.push(
                calls
                    .iter()
                    .map(|call| format!("{} {}", call.verb, call.env("CNI_NETNS")))
                    .collect::<Vec<_>>(),
            );
            node.forget_calls();
        };
        let runtime = scripted(&node, flavour, &Script::new());
        let sandbox = node.sandbox(name);
        runtime.run_pod(&sandbox, &pod).result();
        runtime.stop_pod(&sandbox, &pod).expect_silence();
        assert!(!exists(name));
        note(&node);

        let runtime = scripted(
            &node,
            flavour,
            &Script::new()
                .fails("ADD", 100, "no")
                .fails("DEL", 100, "no"),
        );
        let sandbox = node.sandbox(name);
        runtime.run_pod(&sandbox, &pod).expect_code(100);
        assert!(!exists(name));
        note(&node);

        let sandbox = node.sandbox(name);
        runtime.stop_pod(&sandbox, &pod).expect_code(100);
        assert_eq!(exists(name), flavour == Flavour::Containerd);
        note(&node);
        summaries.insert(name, seen);
    }
    let lines = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let expected = |name: &str, sequences: [&str; 3]| {
        sequences.map(|sequence| lines(&sequence.replace('@', &format!("/run/netns/{name}"))))
    };
    assert_eq!(
        summaries["containerd"],
        expected("containerd", ["ADD @,DEL @,DEL ", "ADD @,DEL @", "DEL @"])
    );
    assert_eq!(
        summaries["crio"],
        expected("crio", ["ADD @,CHECK @,DEL @", "ADD @,DEL @", "DEL @"])
    );
}

#[test]
fn real_plugins_work_on_nodes_in_parallel() {
    let plugins = or_skip!(plugin_dir(&["bridge", "host-local"]));
    let nodes: Vec<_> = [node!(), node!(), node!(), node!()].into();
    thread::scope(|scope| {
        for node in &nodes {
            scope.spawn(|| bridge_on(node, &plugins.join("bridge")));
        }
    });
}

fn bridge_on(node: &Node, bridge: &std::path::Path) {
    let config = json!({
        "cniVersion": "1.0.0", "name": "pods", "type": "bridge", "bridge": "cni0", "isGateway": true,
        "ipam": {"type": "host-local", "subnet": "10.7.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]},
    });
    let path = bridge
        .parent()
        .expect("it is in a directory")
        .to_string_lossy();
    let runtime = Runtime::new(node, Flavour::Crio, bridge.to_owned(), config).with_cni_path(path);
    let leases = || {
        node.run(|| {
            let files = std::fs::read_dir("/var/lib/cni/networks/pods")
                .into_iter()
                .flatten()
                .flatten();
            files
                .filter(|file| file.file_name().to_string_lossy().starts_with("10."))
                .count()
        })
    };
    let sandbox = node.sandbox("pod");
    let pod = Pod::new("p");
    let answer = runtime.run_pod(&sandbox, &pod);
    assert_eq!(
        answer.result()["ips"][0]["address"],
        Value::from("10.7.0.2/24"),
        "the same on every node"
    );
    let link = sandbox.link("eth0").expect("bridge made it");
    assert!(link.up && link.addresses == ["10.7.0.2/24"], "{link:?}");
    let default = sandbox
        .routes()
        .into_iter()
        .find(|route| route.dst == "default")
        .expect("a default route");
    assert_eq!(
        (default.gateway.as_deref(), default.dev.as_deref()),
        (Some("10.7.0.1"), Some("eth0"))
    );
    assert_eq!(
        (node.links().len(), leases()),
        (3, 1),
        "lo, cni0 and one veth"
    );
    runtime.stop_pod(&sandbox, &pod).expect_silence();
    assert_eq!((node.links().len(), leases()), (2, 0));
}

#[test]
fn an_uplink_carries_a_macvlan() {
    let node = node!();
    node.uplink("uplink0");
    let uplink = node
        .links()
        .into_iter()
        .find(|link| link.name == "uplink0")
        .expect("it was made");
    assert!(uplink.up);
    node.ip("link add link uplink0 name mac0 type macvlan mode bridge");
}
