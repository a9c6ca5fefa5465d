//! DEL: from the ledger alone, as often as it is asked.

use std::fs;

use plexus_api::rows;
use plexus_api::wire::Request;
use plexus_e2e::{Flavour, Pod, Script, Step, Target, node};
use serde_json::json;

use crate::plexus::{Plexus, attaches, runtime, runtime_of, target};

#[test]
fn del_may_be_repeated() {
    rows!("P-036", "P-087", "P-114", "R-066");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.attached("p", "a");
    plexus.runtime.del(&target).expect_silence();
    plexus.assert_nothing_left(&sandbox);
    plexus.runtime.del(&target).expect_silence();
    plexus.runtime.del(&target.without_netns()).expect_silence();
    assert_eq!(
        plexus.calls()[2..],
        ["DEL a net1", "DEL main eth0"],
        "the others find nothing to do"
    );
}

#[test]
fn any_netns_will_do() {
    rows!("P-014");
    let node = node!();
    let plexus = Plexus::start(&node);
    // They leave the namespace alone: what a plugin makes of such a path is its own affair.
    plexus.network("a", &attaches().on("DEL", []));
    node.plugin("main", &attaches().on("DEL", []));
    let file = node.scratch().join("file");
    fs::write(&file, "").expect("it can be written");
    for (name, netns) in [
        ("unset", None),
        ("empty", Some("")),
        ("gone", Some("/run/netns/was-here")),
        ("file", file.to_str()),
    ] {
        let (_, target) = plexus.attached(name, "a");
        node.forget_calls();
        plexus
            .runtime
            .del(&target.with_env("CNI_NETNS", netns))
            .expect_silence();
        let calls = node.calls();
        assert_eq!(plexus.calls(), ["DEL a net1", "DEL main eth0"], "{name}");
        assert!(
            calls
                .iter()
                .all(|call| call.env("CNI_NETNS") == netns.unwrap_or_default()),
            "{name}"
        );
    }
    assert_eq!(plexus.records(), [""; 0]);
}

#[test]
fn nothing_but_the_ledger_is_needed() {
    rows!("P-018", "P-093", "R-069", "R-080");
    let node = node!();
    let mut plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.attached("p", "a");
    let before = plexus.calls_of("ADD");
    // Another pod of that name, another definition, none at all; and a daemon that has just started.
    plexus.manifests.pod(&Pod {
        uid: "another".into(),
        ..Pod::new("p").with_networks("b,b")
    });
    plexus.manifests.definition(
        "a",
        &json!({"cniVersion": "1.0.0", "type": "a", "edited": true}),
    );
    plexus.daemon.restart();
    plexus.runtime.check(&target).expect_silence();
    plexus.manifests.remove_definition("a");
    plexus.daemon.restart();
    let anonymous = Target {
        pod: None,
        ..target.clone()
    };
    plexus.runtime.del(&anonymous).expect_silence();
    for call in plexus
        .calls_of("CHECK")
        .iter()
        .chain(&plexus.calls_of("DEL"))
    {
        let add = before
            .iter()
            .find(|add| add.plugin == call.plugin)
            .expect("it was added");
        let mut config = call.config();
        let result = config["prevResult"].take();
        assert_eq!(
            result["interfaces"][0]["name"],
            call.env("CNI_IFNAME"),
            "{}",
            call.summary()
        );
        config
            .as_object_mut()
            .expect("an object")
            .remove("prevResult");
        assert_eq!(config, add.config(), "{}", call.summary());
        assert_eq!(
            call.env("CNI_ARGS"),
            add.env("CNI_ARGS"),
            "{}",
            call.summary()
        );
    }
    assert_eq!(plexus.calls()[4..], ["DEL a net1", "DEL main eth0"]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn del_of_a_refused_interface_spares_the_others_of_the_container() {
    rows!("P-088");
    let node = node!();
    let mut plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let sandbox = node.sandbox("pod");
    let pod = Pod::new("p").with_networks("a");
    let (first, second) = (target(&sandbox, &pod), Target::new(&sandbox, "eth1", &pod));
    plexus.runtime.add(&first).result();
    plexus.runtime.add(&second).expect_code(103);
    // As a runtime does after an ADD that failed. The daemon may not remember that it has refused it.
    plexus.daemon.restart();
    plexus.runtime.del(&second).expect_silence();
    assert_eq!(
        plexus.calls()[2..],
        ["DEL main eth1"],
        "net1 is the first one's"
    );
    plexus.runtime.check(&first).expect_silence();
    plexus.runtime.del(&first).expect_silence();
    assert_eq!(plexus.records(), [""; 0]);
}

#[test]
fn del_of_what_was_refused_leaves_another_s_link_alone() {
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.sandbox("p", "a");
    sandbox.ip("link add net1 type bridge");
    plexus.runtime.add(&target).expect_code(103);
    plexus.runtime.del(&target).expect_silence();
    assert!(sandbox.link("net1").is_some());
    assert_eq!(
        plexus.calls(),
        [""; 0],
        "nothing has run that could be undone"
    );
}

#[test]
fn a_wrong_setting_does_not_keep_what_is_attached() {
    rows!("P-087");
    let node = node!();
    let plexus = Plexus::start(&node);
    let (sandbox, target) = plexus.attached("p", "");
    let edited = runtime(&node, json!({"pluginTimeout": "soon"}));
    edited.check(&target).expect_error(2, &["pluginTimeout"]);
    edited.del(&target).expect_silence();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn the_status_of_a_newer_sandbox_stays() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let pod = Pod::new("p");
    let [old, new] = ["10.1.0.2", "10.1.0.3"].map(|address| {
        let add = [
            Step::Link("bridge".into()),
            Step::result(&format!("{address}/24"), ""),
        ];
        node.plugin("main", &attaches().on("ADD", add));
        let target = target(&node.sandbox(address), &pod);
        plexus.runtime.add(&target).result();
        target
    });
    // The pod's sandbox was made anew before the old one was gone.
    plexus.runtime.del(&old).expect_silence();
    assert_eq!(
        plexus.status(&pod).expect("it stays")[0]["ips"][0],
        "10.1.0.3"
    );
    plexus.runtime.del(&new).expect_silence();
    assert_eq!(plexus.status(&pod), None);
}

#[test]
fn all_are_tried_and_what_failed_is_kept() {
    rows!("P-043", "P-091", "P-092", "R-090", "R-104", "K-093");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.networks(&["a", "b"]);
    let (sandbox, target) = plexus.attached("p", "a,b");
    node.plugin(
        "a",
        &attaches().fails("DEL", 120, "the switch does not answer"),
    );
    for _ in 0..2 {
        node.forget_calls();
        let answer = plexus.runtime.del(&target);
        let expected = "DEL pod default/p: network \"default/a\" interface \"net1\": plugin \"a\": the switch does not answer";
        assert_eq!(answer.expect_code(120), expected);
        assert_eq!(plexus.records().len(), 1);
    }
    assert_eq!(
        plexus.calls(),
        ["DEL a net1"],
        "the second time only what is left"
    );
    node.plugin("a", &attaches());
    node.forget_calls();
    plexus.runtime.del(&target).expect_silence();
    let calls = node.calls();
    assert_eq!(plexus.calls(), ["DEL a net1"]);
    assert_eq!(
        calls[0].config()["prevResult"]["interfaces"][0]["name"],
        "net1"
    );
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn several_failures_are_told_together() {
    rows!("P-091");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.networks(&["a", "b"]);
    let (_, target) = plexus.attached("p", "a,b");
    node.plugin("a", &attaches().fails("DEL", 120, "no switch"));
    node.plugin("main", &attaches().fails("DEL", 11, "no time"));
    node.forget_calls();
    let answer = plexus.runtime.del(&target);
    let expected = "DEL pod default/p: network \"default/a\" interface \"net1\": plugin \"a\": no switch; \
                    network \"pods\" interface \"eth0\": plugin \"main\": no time";
    assert_eq!(answer.expect_code(120), expected);
    assert_eq!(
        plexus.calls(),
        ["DEL b net2", "DEL a net1", "DEL main eth0"]
    );
}

#[test]
fn a_plugin_that_is_missing_blocks_its_own_attachment_alone() {
    rows!("R-070");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.attached("p", "a");
    let (plugin, away) = (node.bin_dir().join("a"), node.scratch().join("a"));
    fs::rename(&plugin, &away).expect("it can be moved");
    plexus
        .runtime
        .del(&target)
        .expect_error(102, &["\"a\"", "net1"]);
    assert!(sandbox.link("eth0").is_none() && sandbox.link("net1").is_some());
    fs::rename(&away, &plugin).expect("it can be moved");
    plexus.runtime.del(&target).expect_silence();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn no_error_reads_like_success() {
    rows!("C-10");
    let node = node!();
    let plexus = Plexus::start(&node);
    let (sandbox, target) = plexus.attached("p", "");
    let error = json!({"code": 120, "msg": "lease not found: No such file or directory", "details": "Not Found"});
    node.plugin("main", &attaches().on("DEL", [Step::Error(error)]));
    let answer = plexus.runtime.del(&target);
    answer.expect_code(120);
    let text = answer.stdout.to_lowercase();
    assert!(
        !text.contains("not found") && !text.contains("no such file"),
        "{text}"
    );
    // Whoever talks to the socket without our shim sees the same.
    let config = json!({"cniVersion": "1.1.0", "name": "plexus", "type": "plexus"}).to_string();
    let env = json!({"CNI_COMMAND": "DEL", "CNI_CONTAINERID": sandbox.id(), "CNI_IFNAME": "eth0"});
    let env = serde_json::from_value(env).expect("strings");
    let body = serde_json::to_vec(&Request {
        env,
        config: config.into(),
        at: None,
    })
    .expect("a request is JSON");
    let reply = plexus.daemon.post("/cni", &body).expect("an answer");
    let text = reply.body.to_lowercase();
    assert!(
        reply.status == 400 && !text.contains("not found") && !text.contains("no such file"),
        "{reply:?}"
    );
}

#[test]
fn a_record_without_a_result_is_deleted_without_it() {
    rows!("P-089", "R-086");
    let node = node!();
    let mut plexus = Plexus::start(&node);
    let (sandbox, target) = plexus.attached("p", "");
    plexus.daemon.stop();
    let record = plexus.record();
    let kept: Vec<_> = record
        .lines()
        .filter(|line| !line.starts_with("{\"added\""))
        .collect();
    assert!(kept.len() < record.lines().count(), "{record}");
    plexus.write_record(&(kept.join("\n") + "\n"));
    plexus.daemon.restart();
    plexus.runtime.check(&target).expect_error(108, &["result"]);
    plexus.runtime.del(&target).expect_silence();
    let calls = plexus.calls_of("DEL");
    assert_eq!(
        (calls.len(), calls[0].config().get("prevResult")),
        (1, None)
    );
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_damaged_record_does_not_block() {
    rows!("P-090", "R-086");
    let node = node!();
    let mut plexus = Plexus::start(&node);
    for (name, damage) in [
        ("cut", "{\"planned\": {\"format\": 1, \"cont\n"),
        ("other", "[]\n"),
        ("empty", ""),
        ("zeros", "\0\0\0\0\n"),
    ] {
        let (_, target) = plexus.attached(name, "");
        plexus.daemon.stop();
        plexus.write_record(damage);
        plexus.daemon.restart();
        let answer = plexus.runtime.check(&target);
        assert!(!answer.ok(), "{name}: {answer:?}");
        node.forget_calls();
        plexus.runtime.del(&target).expect_silence();
        assert_eq!(
            plexus.calls(),
            ["DEL main eth0"],
            "{name}: the default network is known all the same"
        );
        assert_eq!(plexus.records(), [""; 0], "{name}");
    }
}

#[test]
fn each_interface_of_the_runtime_has_its_own_record() {
    rows!("C-01", "R-089");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let sandbox = node.sandbox("pod");
    let one = Target::new(&sandbox, "eth0", &Pod::new("p").with_networks("a@x0"));
    let two = Target::new(&sandbox, "eth1", &Pod::new("p").with_networks("a@x1"));
    plexus.runtime.add(&one).result();
    plexus.runtime.add(&two).result();
    node.forget_calls();
    plexus.runtime.del(&one).expect_silence();
    assert_eq!(plexus.calls(), ["DEL a x0", "DEL main eth0"]);
    plexus.runtime.check(&two).expect_silence();
    node.forget_calls();
    plexus.runtime.del(&two).expect_silence();
    assert_eq!(plexus.calls(), ["DEL a x1", "DEL main eth1"]);
}

#[test]
fn an_unknown_container_is_deleted_as_far_as_it_is_known() {
    rows!("P-088");
    let node = node!();
    let mut plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    plexus.manifests.pod(&Pod::new("known").with_networks("a"));
    plexus.manifests.pod(&Pod {
        uid: "another".into(),
        ..Pod::new("replaced").with_networks("a")
    });
    plexus.daemon.restart();
    let runtime = runtime(&node, json!({"capabilities": null}));
    for (name, expected) in [
        ("known", vec!["DEL a net1", "DEL main eth0"]),
        ("replaced", vec!["DEL main eth0"]),
        ("unknown", vec!["DEL main eth0"]),
    ] {
        node.forget_calls();
        runtime
            .del(&plexus.target(&Pod::new(name)))
            .expect_silence();
        assert_eq!(plexus.calls(), expected, "{name}");
    }
    // A plugin that cannot do it is no reason to hold the pod.
    node.plugin("main", &Script::new().fails("DEL", 7, "what is this?"));
    runtime
        .del(&plexus.target(&Pod::new("hopeless")))
        .expect_silence();
}

#[test]
fn a_del_that_keeps_failing_lets_the_pod_go() {
    rows!("R-090", "R-067");
    let node = node!();
    let plexus = Plexus::configured(
        &node,
        json!({"orphanAfter": "1ms", "recoveryInterval": "20ms"}),
    );
    let (sandbox, target) = plexus.attached("p", "");
    node.plugin(
        "main",
        &attaches().fails("DEL", 120, "the switch does not answer"),
    );
    // Recovery tries as well, so the third failure may be its own.
    let mut failures = 0;
    while !plexus.runtime.del(&target).ok() {
        failures += 1;
    }
    assert!((1..=2).contains(&failures), "{failures}");
    assert!(plexus.record().contains("orphaned"), "nothing is forgotten");
    plexus.runtime.del(&target).expect_silence();
    // The sandbox goes, nobody comes back, and the switch answers again.
    node.plugin("main", &attaches());
    plexus.wait_records(&[]);
    // It waits for its turn behind the other, which may have something left to do.
    plexus.runtime.del(&target).expect_silence();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn the_first_failures_are_shown_to_the_runtime() {
    let node = node!();
    let plexus = Plexus::configured(
        &node,
        json!({"orphanAfter": "1h", "recoveryInterval": "1h"}),
    );
    let (_, target) = plexus.attached("p", "");
    node.plugin(
        "main",
        &attaches().fails("DEL", 120, "the switch does not answer"),
    );
    for _ in 0..5 {
        plexus.runtime.del(&target).expect_code(120);
    }
    assert!(!plexus.record().contains("orphaned"));
}

#[test]
fn a_del_whose_caller_is_gone_runs_to_its_end() {
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
    plexus.runtime.del(&target).expect_silence();
    assert_eq!(plexus.calls()[2..], ["DEL a net1", "DEL main eth0"]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_del_that_hangs_does_not_starve_the_others() {
    rows!("P-091");
    let node = node!();
    let plexus = Plexus::configured(&node, json!({"delTimeout": "3s"}));
    plexus.networks(&["a", "b"]);
    let (sandbox, target) = plexus.attached("p", "a,b");
    node.plugin("b", &attaches().on("DEL", [Step::Hang]));
    node.forget_calls();
    plexus.runtime.del(&target).expect_error(11, &["net2"]);
    assert_eq!(
        plexus.calls(),
        ["DEL b net2", "DEL a net1", "DEL main eth0"]
    );
    let left: Vec<_> = sandbox.links().into_iter().map(|link| link.name).collect();
    assert_eq!(left, ["lo", "net2"]);
}

#[test]
fn pods_live_and_end_under_both_runtimes() {
    rows!("P-087", "P-096");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    for (flavour, name) in [(Flavour::Containerd, "containerd"), (Flavour::Crio, "crio")] {
        let runtime = runtime_of(&node, flavour, json!({}));
        let sandbox = node.sandbox(name);
        let pod = Pod::new(name).with_networks("a");
        runtime.run_pod(&sandbox, &pod).result();
        runtime.stop_pod(&sandbox, &pod).expect_silence();
        assert_eq!(plexus.records(), [""; 0]);
        node.plugin("a", &attaches().fails("ADD", 120, "full"));
        let sandbox = node.sandbox(name);
        runtime.run_pod(&sandbox, &pod).expect_code(120);
        assert_eq!(plexus.records(), [""; 0]);
        node.plugin("a", &attaches());
    }
}
