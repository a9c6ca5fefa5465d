//! GC: what is deleted, and what plugins get.

use std::fs;

use plexus_api::rows;
use plexus_e2e::json::with_keys;
use plexus_e2e::{Plexus, Pod, Sandbox, attaches, node};
use serde_json::{Value, json};

use crate::start_with_gc;

fn pair(sandbox: &Sandbox<'_>, ifname: &str) -> Value {
    json!({"containerID": sandbox.id(), "ifname": ifname})
}

#[test]
fn gc_deletes_unlisted_interfaces_and_calls_plugins_with_the_valid_ones() {
    rows!(
        "P-036", "P-107", "P-109", "P-111", "R-034", "R-101", "R-103"
    );
    let node = node!();
    let plexus = start_with_gc(&node, json!({}));
    // `a` and `b` have the same configuration, `c` has the same name and plugin.
    let shared = json!({"cniVersion": "1.1.0", "name": "shared", "type": "net"});
    let no_gc = json!({"cniVersion": "1.1.0", "disableGC": true, "plugins": [{"type": "net"}]});
    for (name, config) in [
        ("a", shared.clone()),
        ("b", shared.clone()),
        ("c", with_keys(shared, json!({"vlan": 7}))),
        ("old", json!({"cniVersion": "1.0.0", "type": "net"})),
        ("off", no_gc),
    ] {
        plexus.manifests.definition(name, &config);
    }
    node.plugin("net", &attaches());
    let [living, other, stale] = ["living", "other", "stale"].map(|name| node.sandbox(name));
    for (sandbox, networks) in [
        (&living, "a@x0,c@x1,old,off"),
        (&other, "b@x0"),
        (&stale, "a"),
    ] {
        let target = sandbox.target(&Pod::new("p").with_networks(networks));
        plexus.runtime.add(&target).result();
    }
    node.forget_calls();
    let valid = [(living.id(), "eth0"), (other.id(), "eth0")];
    plexus.runtime.gc(&valid).expect_success();
    let (calls, summaries) = (node.calls(), plexus.calls());
    assert_eq!(summaries[..2], ["DEL net net1", "DEL main eth0"]);
    for call in &calls[..2] {
        assert_eq!(call.env("CNI_CONTAINERID"), stale.id(), "{calls:?}");
    }
    // One GC for each configuration.
    let mut gcs = summaries[2..].to_vec();
    gcs.sort();
    assert_eq!(gcs, ["GC main", "GC net", "GC net"]);
    for call in &calls[2..] {
        let config = call.config();
        let valid = config["cni.dev/valid-attachments"].as_array();
        let mut valid = valid.expect("a list").clone();
        assert_eq!(config["cni.dev/attachments"], json!(valid));
        let mut expected = match call.plugin.as_str() {
            "main" => vec![pair(&living, "eth0"), pair(&other, "eth0")],
            _ => vec![pair(&living, "x0"), pair(&living, "x1"), pair(&other, "x0")],
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
    assert!(stale.link("eth0").is_none());
    assert!(living.link("x0").is_some() && other.link("x0").is_some());
    let target = living.target(&Pod::new("p"));
    plexus.runtime.check(&target).expect_success();
}

#[test]
fn a_stale_attachment_is_deleted_with_the_configuration_of_its_add() {
    rows!("R-100");
    let node = node!();
    let mut plexus = Plexus::start(&node);
    node.plugin("a", &attaches());
    let definition = |vlan: u16| {
        json!({
            "cniVersion": "1.0.0", "type": "a", "vlan": vlan, "capabilities": {"mac": true},
        })
    };
    plexus.manifests.definition("a", &definition(1));
    let networks = r#"[{"name": "a", "mac": "02:00:00:00:00:01"}]"#;
    let (sandbox, _) = plexus.attached("p", networks);
    plexus.manifests.definition("a", &definition(2));
    plexus.daemon.restart();
    plexus.runtime.gc(&[]).expect_success();
    let (added, deleted) = (plexus.calls_of("ADD"), plexus.calls_of("DEL"));
    let (added, deleted) = (&added[1], &deleted[0]);
    assert_eq!((&*added.plugin, &*deleted.plugin), ("a", "a"));
    for variable in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
        assert_eq!(added.env(variable), deleted.env(variable), "{variable}");
    }
    let mut config = deleted.config();
    let previous = config.as_object_mut().expect("an object");
    assert!(previous.remove("prevResult").is_some());
    assert_eq!(config, added.config());
    assert_eq!(
        (&config["vlan"], &config["runtimeConfig"]["mac"]),
        (&json!(1), &json!("02:00:00:00:00:01"))
    );
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn gc_without_a_list_fails_and_gc_with_an_empty_list_deletes_everything() {
    rows!("P-107", "P-108");
    let node = node!();
    let plexus = start_with_gc(&node, json!({}));
    let [one, two] = ["one", "two"].map(|name| node.sandbox(name));
    let gc = |keys: Value| {
        let config = json!({"cniVersion": "1.1.0", "name": "plexus", "type": "plexus"});
        let mut config = config.as_object().expect("an object").clone();
        // Not with_keys, because null must be kept.
        config.extend(keys.as_object().expect("an object").clone());
        node.forget_calls();
        let running = plexus.runtime.execute("GC", &[].into(), &config.into());
        running.wait()
    };
    let add = || {
        for sandbox in [&one, &two] {
            let target = sandbox.target(&Pod::new("p"));
            plexus.runtime.add(&target).result();
        }
    };
    let (current, older) = ("cni.dev/valid-attachments", "cni.dev/attachments");
    add();
    gc(json!({})).expect_error(7, &[current]);
    gc(json!({current: "all"})).expect_code(2);
    assert_eq!((plexus.calls(), plexus.records().len()), (vec![], 2));
    // The current key overrides the older one.
    gc(json!({current: [pair(&one, "eth0")], older: []})).expect_success();
    assert_eq!(plexus.calls(), ["DEL main eth0", "GC main"]);
    gc(json!({older: [pair(&one, "eth0")]})).expect_success();
    assert_eq!(plexus.calls(), ["GC main"]);
    gc(json!({current: null})).expect_success();
    assert_eq!(plexus.records().len(), 0);
    add();
    gc(json!({current: []})).expect_success();
    assert_eq!(plexus.records().len(), 0);
}

#[test]
fn gc_continues_after_errors_and_reports_all_of_them() {
    rows!("P-112", "R-063", "R-104");
    let node = node!();
    let plexus = start_with_gc(&node, json!({}));
    plexus.networks(&["a", "b"]);
    for (name, networks) in [("one", "a"), ("two", "b"), ("three", "")] {
        let pod = Pod::new(name).with_networks(networks);
        plexus.runtime.add(&plexus.target(&pod)).result();
    }
    node.plugin("a", &attaches().fails("DEL", 120, "the first switch"));
    node.plugin("b", &attaches().fails("DEL", 120, "the second switch"));
    let output = plexus.runtime.gc(&[]);
    let msg = output.expect_code(120);
    assert!(msg.starts_with("GC: "), "{msg}");
    for part in [
        "the first switch",
        "the second switch",
        "default/one",
        "default/two",
    ] {
        assert!(msg.contains(part), "{part}: {msg}");
    }
    assert!(!msg.contains("three"), "{msg}");
    assert_eq!(plexus.records().len(), 2);
    node.plugin("a", &attaches());
    node.plugin("b", &attaches());
    plexus.runtime.gc(&[]).expect_success();
    assert_eq!(plexus.records().len(), 0);
}

#[test]
fn plugins_get_no_gc_if_the_list_of_valid_attachments_may_be_incomplete() {
    rows!("R-102", "R-103");
    let node = node!();
    let mut plexus = start_with_gc(&node, json!({}));
    let (sandbox, _) = plexus.attached("p", "");
    plexus.daemon.stop();
    plexus.write_record("damaged\n");
    plexus.daemon.restart();
    node.forget_calls();
    let valid = [(sandbox.id(), "eth0")];
    // Recovery moves the damaged record to quarantine. If GC comes first, GC moves it and fails.
    let _ = plexus.runtime.gc(&valid);
    plexus.runtime.gc(&valid).expect_success();
    plexus
        .runtime
        .gc(&[("of-another", "eth0")])
        .expect_success();
    assert_eq!(plexus.calls(), [""; 0]);
    plexus.runtime.gc(&[]).expect_success();
    assert_eq!(plexus.calls(), ["GC main"]);
    // A ledger that cannot be read is not an empty one.
    node.run(|| fs::rename("/var/lib/plexus/ledger", "/var/lib/plexus/away"))
        .expect("move the ledger");
    node.forget_calls();
    plexus.runtime.gc(&[]).expect_code(110);
    assert_eq!(plexus.calls(), [""; 0]);
}

#[test]
fn gc_without_records_calls_the_default_network() {
    rows!("P-115");
    let node = node!();
    let plexus = start_with_gc(&node, json!({}));
    plexus.runtime.gc(&[]).expect_success();
    assert_eq!(plexus.calls(), ["GC main"]);
    let config = node.calls()[0].config();
    assert_eq!(config["cni.dev/valid-attachments"], json!([]));
}
