//! GC and STATUS.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use plexus_api::rows;
use plexus_e2e::{Node, Pod, Script, Step, node};
use serde_json::{Value, json};

use crate::plexus::{Plexus, attaches, runtime, target, write};

/// Plexus whose default network has version 1.1.0, from which on there are GC and STATUS.
fn newest<'n>(node: &'n Node, keys: &Value) -> Plexus<'n> {
    let default = json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": "main"}]});
    let mut all = json!({"clusterNetwork": write(node, "newest.conflist", &default)});
    all.as_object_mut()
        .expect("an object")
        .extend(keys.as_object().expect("an object").clone());
    Plexus::configured(node, all)
}

#[test]
fn ready_is_what_the_networks_of_every_pod_say() {
    rows!(
        "C-15", "P-036", "P-043", "P-100", "P-101", "P-102", "P-103", "P-104", "R-034", "R-104"
    );
    let node = node!();
    let further = json!({"cniVersion": "1.1.0", "name": "further", "type": "further"});
    let plexus = newest(
        &node,
        &json!({"defaultNetworks": [write(&node, "further.conf", &further)]}),
    );
    node.plugin("further", &attaches());
    node.plugin("a", &attaches().fails("STATUS", 50, "the switch is down"));
    plexus
        .manifests
        .definition("a", &json!({"cniVersion": "1.1.0", "type": "a"}));
    let sandbox = node.sandbox("pod");
    let target = target(&sandbox, &Pod::new("p").with_networks("a"));
    plexus.runtime.add(&target).result();
    node.forget_calls();
    plexus.runtime.status().expect_silence();
    assert_eq!(plexus.calls(), ["STATUS main", "STATUS further"]);
    for call in node.calls() {
        let container = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"];
        assert!(
            container.iter().all(|key| !call.env.contains_key(*key)),
            "{:?}",
            call.env
        );
    }
    assert_eq!(node.calls()[1].config(), further, "nothing of a container");
    for (plugin, code) in [("main", 50), ("main", 51), ("further", 50), ("main", 120)] {
        node.plugin(
            plugin,
            &attaches().fails("STATUS", code, "out of addresses"),
        );
        let answer = plexus.runtime.status();
        let msg = answer.expect_code(code.into());
        assert!(
            msg.starts_with("STATUS: network ")
                && msg.ends_with(&format!("plugin \"{plugin}\": out of addresses")),
            "{msg}"
        );
        node.plugin(plugin, &attaches());
        plexus.runtime.status().expect_silence();
    }
    node.plugin("main", &attaches().fails("STATUS", 50, "out of addresses"));
    plexus.runtime.status().expect_code(50);
    plexus
        .runtime
        .add(&crate::plexus::target(
            &node.sandbox("next"),
            &Pod::new("next"),
        ))
        .result();
}

#[test]
fn not_ready_where_add_cannot_be_served() {
    rows!("P-100", "P-101", "P-105");
    let node = node!();
    let plexus = newest(&node, &json!({"pluginTimeout": "100ms"}));
    node.plugin("main", &attaches().on("STATUS", [Step::Hang]));
    let answer = plexus.runtime.status();
    assert!(answer.expect_code(50).contains("took longer"), "{answer:?}");
    fs::remove_file(node.bin_dir().join("main")).expect("it can be removed");
    let answer = plexus.runtime.status();
    assert!(
        answer.expect_code(50).contains("\"main\" is in none"),
        "{answer:?}"
    );
    fs::remove_file(node.scratch().join("newest.conflist")).expect("it can be removed");
    plexus.daemon.wait_log("the default network is unavailable");
    let answer = plexus.runtime.status();
    assert!(
        answer.expect_code(50).contains("newest.conflist"),
        "{answer:?}"
    );
    drop(plexus.daemon);
    let runtime = runtime(&node, json!({"daemonWaitStatus": "10ms"}));
    let answer = runtime.status();
    assert!(answer.expect_code(50).contains("plexusd"), "{answer:?}");
}

#[test]
fn an_older_network_is_not_asked() {
    rows!("R-065");
    let node = node!();
    let plexus = Plexus::start(&node);
    node.plugin(
        "main",
        &Script::new().fails("STATUS", 50, "?").fails("GC", 50, "?"),
    );
    plexus.runtime.status().expect_silence();
    plexus.runtime.gc(&[]).expect_silence();
    assert_eq!(plexus.calls(), [""; 0]);
}

#[test]
fn gc_waits_for_an_add_and_spares_it() {
    rows!("P-113", "R-101");
    let node = node!();
    let gate = node.gate("add");
    let plexus = newest(&node, &json!({"logLevel": "debug"}));
    let (stale, sandbox) = (node.sandbox("stale"), node.sandbox("pod"));
    plexus
        .runtime
        .add(&target(&stale, &Pod::new("stale")))
        .result();
    node.plugin(
        "main",
        &attaches().on("ADD", [gate.step(), Step::Link("bridge".into())]),
    );
    let target = target(&sandbox, &Pod::new("p"));
    let add = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    node.forget_calls();
    // The runtime has made its list before it has the answer to that ADD.
    thread::scope(|scope| {
        let gc = scope.spawn(|| plexus.runtime.gc(&[]));
        plexus.daemon.wait_log("GC waits for the calls in flight");
        held.release();
        add.wait().result();
        gc.join().expect("no panic").expect_silence();
    });
    plexus.runtime.check(&target).expect_silence();
    assert_eq!(
        plexus.calls(),
        ["DEL main eth0", "GC main", "CHECK main eth0"]
    );
    let kept = node.calls()[1].config()["cni.dev/valid-attachments"].take();
    assert_eq!(
        kept,
        json!([{"containerID": sandbox.id(), "ifname": "eth0"}])
    );
}

#[test]
fn gc_spares_what_has_come_back_under_its_name() {
    rows!("P-109");
    let node = node!();
    let gate = node.gate("del");
    let plexus = newest(&node, &json!({}));
    let mut sandboxes = [node.sandbox("one"), node.sandbox("two")];
    sandboxes.sort_by_key(|sandbox| sandbox.id().to_owned());
    let [first, second] = sandboxes
        .each_ref()
        .map(|sandbox| target(sandbox, &Pod::new("p")));
    plexus.runtime.add(&first).result();
    plexus.runtime.add(&second).result();
    node.plugin("main", &attaches().on("DEL", [gate.step(), Step::Unlink]));
    thread::scope(|scope| {
        let gc = scope.spawn(|| plexus.runtime.gc(&[]));
        let held = gate.wait();
        node.plugin("main", &attaches());
        plexus.runtime.del(&second).expect_silence();
        plexus.runtime.add(&second).result();
        held.release();
        gc.join().expect("no panic").expect_silence();
    });
    plexus.runtime.check(&first).expect_code(108);
    plexus.runtime.check(&second).expect_silence();
    let gc = node
        .calls()
        .into_iter()
        .find(|call| call.verb == "GC")
        .expect("the plugins were asked");
    let living = json!([{"containerID": second.container, "ifname": "eth0"}]);
    assert_eq!(gc.config()["cni.dev/valid-attachments"], living);
}

#[test]
fn others_come_and_go_while_gc_waits() {
    rows!("P-113");
    let node = node!();
    let gate = node.gate("add");
    let plexus = newest(&node, &json!({"logLevel": "debug"}));
    let slow = node.sandbox("slow");
    node.plugin(
        "main",
        &attaches().on("ADD", [gate.step(), Step::Link("bridge".into())]),
    );
    let add = plexus
        .runtime
        .start("ADD", &target(&slow, &Pod::new("slow")));
    let held = gate.wait();
    node.plugin("main", &attaches());
    let passing = target(&node.sandbox("passing"), &Pod::new("passing"));
    thread::scope(|scope| {
        let gc = scope.spawn(|| plexus.runtime.gc(&[]));
        plexus.daemon.wait_log("GC waits for the calls in flight");
        plexus.runtime.add(&passing).result();
        plexus.runtime.del(&passing).expect_silence();
        held.release();
        add.wait().result();
        gc.join().expect("no panic").expect_silence();
    });
    assert_eq!(
        plexus.calls(),
        ["ADD main eth0", "ADD main eth0", "DEL main eth0", "GC main"]
    );
}

#[test]
fn gc_gives_up_on_a_network_whose_plugin_hangs_and_keeps_no_pod_waiting() {
    rows!("P-112", "P-113");
    let node = node!();
    let gate = node.gate("add");
    let plexus = newest(&node, &json!({"logLevel": "debug"}));
    plexus.manifests.definition(
        "a",
        &json!({"cniVersion": "1.1.0", "name": "a", "type": "a"}),
    );
    node.plugin("a", &attaches());
    let (stale, hung) = (node.sandbox("stale"), node.sandbox("hung"));
    plexus
        .runtime
        .add(&target(&stale, &Pod::new("stale")))
        .result();
    let living = target(
        &node.sandbox("living"),
        &Pod::new("living").with_networks("a"),
    );
    plexus.runtime.add(&living).result();
    node.plugin(
        "main",
        &attaches().on("ADD", [gate.step(), Step::Link("bridge".into())]),
    );
    let target = target(&hung, &Pod::new("hung"));
    let add = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    node.plugin("main", &attaches());
    node.forget_calls();
    thread::scope(|scope| {
        let gc = scope.spawn(|| plexus.runtime.gc(&[(living.container.as_str(), "eth0")]));
        let passing = crate::plexus::target(&node.sandbox("passing"), &Pod::new("passing"));
        plexus.daemon.wait_log("GC waits for the calls in flight");
        let mut longest = Duration::ZERO;
        while !gc.is_finished() {
            let start = Instant::now();
            plexus.runtime.add(&passing).result();
            longest = longest.max(start.elapsed());
            plexus.runtime.del(&passing).expect_silence();
        }
        let answer = gc.join().expect("no panic");
        let msg = answer.expect_code(11);
        assert!(
            msg.starts_with("GC: network \"pods\": ") && msg.contains("ADD pod default/hung"),
            "{msg}"
        );
        assert!(longest < Duration::from_secs(4), "{longest:?}");
    });
    assert!(
        stale.link("eth0").is_none(),
        "what is not listed needs nobody's leave to be deleted"
    );
    let calls = plexus.calls();
    assert!(
        calls.contains(&"GC a".to_owned()) && !calls.contains(&"GC main".to_owned()),
        "{calls:?}"
    );
    held.release();
    add.wait().result();
    plexus
        .runtime
        .gc(&[(living.container.as_str(), "eth0"), (hung.id(), "eth0")])
        .expect_silence();
    plexus.runtime.check(&target).expect_silence();
}

#[test]
fn what_comes_onto_a_network_waits_for_its_gc_and_survives() {
    rows!("P-113", "R-101");
    let node = node!();
    let gate = node.gate("gc");
    let plexus = newest(&node, &json!({"logLevel": "debug"}));
    plexus.manifests.definition(
        "a",
        &json!({"cniVersion": "1.1.0", "name": "a", "type": "a"}),
    );
    node.plugin("a", &attaches().on("GC", [gate.step()]));
    let living = node.sandbox("living");
    plexus
        .runtime
        .add(&target(&living, &Pod::new("living").with_networks("a")))
        .result();
    let (late, elsewhere) = (node.sandbox("late"), node.sandbox("elsewhere"));
    let target = target(&late, &Pod::new("late").with_networks("a"));
    thread::scope(|scope| {
        let gc = scope.spawn(|| plexus.runtime.gc(&[(living.id(), "eth0")]));
        let held = gate.wait();
        let add = plexus.runtime.start("ADD", &target);
        plexus
            .daemon
            .wait_log("waiting for GC of the call's networks");
        plexus
            .runtime
            .add(&crate::plexus::target(&elsewhere, &Pod::new("elsewhere")))
            .result();
        held.release();
        gc.join().expect("no panic").expect_silence();
        add.wait().result();
    });
    let calls = node.calls();
    let gc = calls
        .iter()
        .find(|call| call.summary() == "GC a")
        .expect("it was asked");
    assert_eq!(
        gc.config()["cni.dev/valid-attachments"],
        json!([{"containerID": living.id(), "ifname": "net1"}])
    );
    let adds = calls
        .iter()
        .filter(|call| call.verb == "ADD" && call.env("CNI_CONTAINERID") == late.id());
    assert!(
        adds.clone().count() == 2 && adds.clone().all(|add| Some(add.start) > gc.end),
        "{calls:?}"
    );
    plexus.runtime.check(&target).expect_silence();
}

#[test]
fn gc_waits_for_a_plugin_that_an_earlier_daemon_left_running() {
    rows!("P-113");
    let node = node!();
    let gate = node.gate("add");
    let mut plexus = newest(&node, &json!({"logLevel": "debug"}));
    node.plugin(
        "main",
        &attaches().on("ADD", [gate.step(), Step::Link("bridge".into())]),
    );
    let sandbox = node.sandbox("pod");
    let add = plexus
        .runtime
        .start("ADD", &target(&sandbox, &Pod::new("p")));
    let held = gate.wait();
    plexus.daemon.kill9();
    add.wait();
    plexus.daemon.launch();
    plexus.daemon.wait_ready();
    thread::scope(|scope| {
        let gc = scope.spawn(|| plexus.runtime.gc(&[(sandbox.id(), "eth0")]));
        plexus.daemon.wait_log("GC waits for the calls in flight");
        held.release();
        gc.join().expect("no panic").expect_silence();
    });
    let calls = node.calls();
    let gc = calls
        .iter()
        .find(|call| call.verb == "GC")
        .expect("the plugins were asked");
    assert!(calls[0].end.is_some_and(|end| end < gc.start), "{calls:?}");
}

#[test]
fn gc_removes_what_is_not_listed_and_tells_the_plugins_what_lives() {
    rows!(
        "P-036", "P-107", "P-109", "P-111", "R-034", "R-101", "R-103"
    );
    let node = node!();
    let plexus = newest(&node, &json!({}));
    for (name, config) in [
        (
            "a",
            json!({"cniVersion": "1.1.0", "name": "shared", "type": "net"}),
        ),
        (
            "b",
            json!({"cniVersion": "1.1.0", "name": "shared", "type": "net"}),
        ),
        (
            "c",
            json!({"cniVersion": "1.1.0", "name": "shared", "type": "net", "vlan": 7}),
        ),
        ("old", json!({"cniVersion": "1.0.0", "type": "net"})),
        (
            "off",
            json!({"cniVersion": "1.1.0", "disableGC": true, "plugins": [{"type": "net"}]}),
        ),
    ] {
        plexus.manifests.definition(name, &config);
    }
    node.plugin("net", &attaches());
    let (living, other, stale) = (
        node.sandbox("living"),
        node.sandbox("other"),
        node.sandbox("stale"),
    );
    for (sandbox, networks) in [
        (&living, "a@x0,c@x1,old,off"),
        (&other, "b@x0"),
        (&stale, "a"),
    ] {
        plexus
            .runtime
            .add(&target(sandbox, &Pod::new("p").with_networks(networks)))
            .result();
    }
    node.forget_calls();
    plexus
        .runtime
        .gc(&[(living.id(), "eth0"), (other.id(), "eth0")])
        .expect_silence();
    let calls = node.calls();
    let summaries = plexus.calls();
    assert_eq!(summaries[..2], ["DEL net net1", "DEL main eth0"]);
    assert!(
        calls[..2]
            .iter()
            .all(|call| call.env("CNI_CONTAINERID") == stale.id()),
        "{calls:?}"
    );
    let mut asked = summaries[2..].to_vec();
    asked.sort();
    assert_eq!(
        asked,
        ["GC main", "GC net", "GC net"],
        "once for each configuration"
    );
    let pair = |id: &str, ifname: &str| json!({"containerID": id, "ifname": ifname});
    for call in &calls[2..] {
        let config = call.config();
        let mut valid = config["cni.dev/valid-attachments"]
            .as_array()
            .expect("a list")
            .clone();
        assert_eq!(config["cni.dev/attachments"], json!(valid));
        let mut expected = match call.plugin.as_str() {
            "main" => vec![pair(living.id(), "eth0"), pair(other.id(), "eth0")],
            _ => vec![
                pair(living.id(), "x0"),
                pair(living.id(), "x1"),
                pair(other.id(), "x0"),
            ],
        };
        for list in [&mut valid, &mut expected] {
            list.sort_by_key(Value::to_string);
        }
        assert_eq!(valid, expected, "{}", call.plugin);
        assert!(
            config.get("prevResult").is_none() && config.get("runtimeConfig").is_none(),
            "{config}"
        );
        assert!(!call.env.contains_key("CNI_CONTAINERID"), "{:?}", call.env);
    }
    assert!(
        stale.link("eth0").is_none() && living.link("x0").is_some() && other.link("x0").is_some()
    );
    plexus
        .runtime
        .check(&target(&living, &Pod::new("p")))
        .expect_silence();
}

#[test]
fn no_list_is_not_an_empty_list() {
    rows!("P-107", "P-108");
    let node = node!();
    let plexus = newest(&node, &json!({}));
    let (one, two) = (node.sandbox("one"), node.sandbox("two"));
    let gc = |keys: Value| {
        let mut config = json!({"cniVersion": "1.1.0", "name": "plexus", "type": "plexus"});
        config
            .as_object_mut()
            .expect("an object")
            .extend(keys.as_object().expect("an object").clone());
        node.forget_calls();
        plexus.runtime.execute("GC", &[].into(), &config).wait()
    };
    let add = || {
        for sandbox in [&one, &two] {
            plexus
                .runtime
                .add(&target(sandbox, &Pod::new("p")))
                .result();
        }
    };
    let valid = |sandbox: &plexus_e2e::Sandbox<'_>| json!([{"containerID": sandbox.id(), "ifname": "eth0"}]);
    let (current, older) = ("cni.dev/valid-attachments", "cni.dev/attachments");
    add();
    assert!(gc(json!({})).expect_code(7).contains(current));
    gc(json!({current: "all"})).expect_code(2);
    assert_eq!((plexus.calls(), plexus.records().len()), (vec![], 2));
    gc(json!({current: valid(&one), older: []})).expect_silence();
    assert_eq!(
        plexus.calls(),
        ["DEL main eth0", "GC main"],
        "the newer key counts"
    );
    gc(json!({older: valid(&one)})).expect_silence();
    assert_eq!(plexus.calls(), ["GC main"]);
    gc(json!({current: null})).expect_silence();
    assert_eq!(plexus.records().len(), 0);
    add();
    gc(json!({current: []})).expect_silence();
    assert_eq!(plexus.records().len(), 0);
}

#[test]
fn gc_goes_on_over_errors_and_tells_them_all() {
    rows!("P-112", "R-063", "R-104");
    let node = node!();
    let plexus = newest(&node, &json!({}));
    for name in ["a", "b"] {
        plexus.network(name, &attaches());
    }
    for (name, networks) in [("one", "a"), ("two", "b"), ("three", "")] {
        plexus
            .runtime
            .add(&target(
                &node.sandbox(name),
                &Pod::new(name).with_networks(networks),
            ))
            .result();
    }
    node.plugin("a", &attaches().fails("DEL", 120, "the first switch"));
    node.plugin("b", &attaches().fails("DEL", 120, "the second switch"));
    let answer = plexus.runtime.gc(&[]);
    let msg = answer.expect_code(120);
    assert!(
        msg.starts_with("GC: ")
            && msg.contains("the first switch")
            && msg.contains("the second switch"),
        "{msg}"
    );
    assert!(
        msg.contains("default/one") && msg.contains("default/two") && !msg.contains("three"),
        "{msg}"
    );
    assert_eq!(plexus.records().len(), 2);
    node.plugin("a", &attaches());
    node.plugin("b", &attaches());
    plexus.runtime.gc(&[]).expect_silence();
    assert_eq!(plexus.records().len(), 0);
}

#[test]
fn plugins_do_not_delete_what_we_cannot_list() {
    rows!("R-102", "R-103");
    let node = node!();
    let mut plexus = newest(&node, &json!({}));
    let sandbox = node.sandbox("pod");
    plexus
        .runtime
        .add(&target(&sandbox, &Pod::new("p")))
        .result();
    plexus.daemon.stop();
    plexus.write_record("damaged\n");
    plexus.daemon.restart();
    node.forget_calls();
    // Recovery moves the damaged record away; where GC comes first, it does, and says so once.
    let _ = plexus.runtime.gc(&[(sandbox.id(), "eth0")]);
    plexus
        .runtime
        .gc(&[(sandbox.id(), "eth0")])
        .expect_silence();
    plexus
        .runtime
        .gc(&[("of-another", "eth0")])
        .expect_silence();
    assert_eq!(plexus.calls(), [""; 0]);
    plexus.runtime.gc(&[]).expect_silence();
    assert_eq!(plexus.calls(), ["GC main"]);
    // A ledger that cannot be read at all is no empty one.
    node.run(|| {
        fs::rename("/var/lib/plexus/ledger", "/var/lib/plexus/away").expect("it can be moved");
    });
    node.forget_calls();
    plexus.runtime.gc(&[]).expect_code(110);
    assert_eq!(plexus.calls(), [""; 0]);
}

#[test]
fn gc_on_a_fresh_node() {
    rows!("P-115");
    let node = node!();
    let plexus = newest(&node, &json!({}));
    plexus.runtime.gc(&[]).expect_silence();
    assert_eq!(plexus.calls(), ["GC main"]);
    assert_eq!(
        node.calls()[0].config()["cni.dev/valid-attachments"],
        json!([])
    );
}
