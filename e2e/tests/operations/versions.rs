//! CNI versions of the runtime and of the networks.

use std::collections::BTreeMap;

use plexus_api::rows;
use plexus_api::wire::Request;
use plexus_e2e::{Plexus, Pod, Step, attaches, node};
use serde_json::{Value, json};

const ALL: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

#[test]
fn operations_are_rejected_before_the_version_that_introduced_them() {
    rows!("P-065", "P-066");
    let node = node!();
    let plexus = Plexus::start(&node);
    let (sandbox, target) = plexus.attached("p", "");
    for (index, version) in ALL.into_iter().enumerate() {
        let runtime = plexus.runtime_with(json!({"cniVersion": version}));
        let check = runtime.check(&target);
        if index < 4 {
            assert!(check.expect_code(1).contains(version), "{check:?}");
        } else {
            check.expect_success();
        }
        for output in [runtime.status(), runtime.gc(&[(sandbox.id(), "eth0")])] {
            if index < 6 {
                output.expect_error(1, &[version]);
            } else {
                output.expect_success();
            }
        }
    }
}

#[test]
fn shim_and_daemon_use_the_last_of_two_spellings_of_a_key() {
    let node = node!();
    let plexus = Plexus::start(&node);
    // STATUS needs 1.1.0.
    for (keys, code) in [
        (r#""cniVersion":"0.4.0","cniversion":"1.1.0""#, None),
        (r#""cniversion":"0.4.0","cniVersion":"1.1.0""#, None),
        (r#""cniVersion":"1.1.0","cniversion":"0.4.0""#, Some(1)),
        (r#""cniversion":"1.1.0","cniVersion":"0.4.0""#, Some(1)),
    ] {
        let config = format!(r#"{{"name":"plexus",{keys}}}"#).into_bytes();
        let output = plexus
            .runtime
            .execute_raw("STATUS", &BTreeMap::new(), config.clone())
            .wait();
        let request = Request {
            env: [
                ("CNI_COMMAND".to_owned(), "STATUS".to_owned()),
                ("CNI_PATH".to_owned(), node.bin_dir().display().to_string()),
            ]
            .into(),
            config,
            at: None,
        };
        let body = serde_json::to_vec(&request).expect("a request is JSON");
        let reply = plexus.daemon.post("/cni", &body).expect("a reply");
        match code {
            None => {
                output.expect_success();
                assert_eq!(reply.status, 200, "{keys}: {reply:?}");
            }
            Some(code) => {
                output.expect_code(code);
                let error: Value = serde_json::from_str(&reply.body).expect("an error object");
                assert_eq!(error["code"], code, "{keys}: {reply:?}");
            }
        }
    }
}

#[test]
fn the_result_has_the_version_of_the_runtime() {
    rows!("P-064", "P-067", "K-072");
    let node = node!();
    let result = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/x"}],
        "ips": [
            {"address": "10.1.2.3/24", "gateway": "10.1.2.1", "interface": 0},
            {"address": "2001:db8::3/64", "interface": 0},
        ],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1"}],
        "dns": {"nameservers": ["10.1.2.53"]},
    });
    let plexus = Plexus::start(&node);
    node.plugin(
        "main",
        &attaches().on("ADD", [Step::link(), Step::Result(result)]),
    );
    let dns = json!({"nameservers": ["10.1.2.53"]});
    let old = |version: &str| {
        json!({
            "cniVersion": version,
            "ip4": {"ip": "10.1.2.3/24", "gateway": "10.1.2.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1"}]},
            "ip6": {"ip": "2001:db8::3/64"},
            "dns": dns,
        })
    };
    let middle = |version: &str| {
        json!({
            "cniVersion": version,
            "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/x"}],
            "ips": [
                {"version": "4", "address": "10.1.2.3/24", "gateway": "10.1.2.1", "interface": 0},
                {"version": "6", "address": "2001:db8::3/64", "interface": 0},
            ],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1"}],
            "dns": dns,
        })
    };
    let new = |version: &str| {
        let mut result = middle(version);
        for ip in result["ips"].as_array_mut().expect("a list") {
            ip.as_object_mut().expect("an object").remove("version");
        }
        result
    };
    let versions = ALL
        .iter()
        .map(|version| (json!(version), *version))
        .chain([(Value::Null, "0.1.0")]);
    for (number, (configured, version)) in versions.enumerate() {
        let expected = match version {
            "0.1.0" | "0.2.0" => old(version),
            "1.0.0" | "1.1.0" => new(version),
            _ => middle(version),
        };
        let runtime = plexus.runtime_with(json!({"cniVersion": configured}));
        let sandbox = node.sandbox(&format!("pod{number}"));
        let target = sandbox.target(&Pod::new("p"));
        assert_eq!(*runtime.add(&target).result(), expected, "{version}");
        runtime.del(&target).expect_success();
        plexus.assert_nothing_left(&sandbox);
    }
}

#[test]
fn each_network_is_called_in_its_own_version() {
    rows!("P-067", "K-009", "K-072", "R-020");
    let node = node!();
    let default = json!({"cniVersion": "0.3.1", "name": "pods", "plugins": [{"type": "main"}]});
    let plexus = Plexus::on(&node)
        .default_network(default)
        .config(json!({"checkPlugins": "all"}))
        .start();
    for (name, config) in [
        ("a", json!({"cniVersion": "1.1.0", "type": "a"})),
        (
            "b",
            json!({"cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.0.0", "9.9.9"], "plugins": [{"type": "b"}]}),
        ),
        ("c", json!({"type": "c"})),
    ] {
        node.plugin(name, &attaches());
        plexus.manifests.definition(name, &config);
    }
    let runtime = plexus.runtime_with(json!({"cniVersion": "1.0.0"}));
    let (_, target) = plexus.sandbox("p", "a,b,c");
    let output = runtime.add(&target);
    assert_eq!(output.result()["cniVersion"], "1.0.0");
    assert_eq!(
        output.result()["ips"],
        json!([{"address": "10.1.2.3/24", "interface": 0}])
    );
    let version = |operation: &str| -> Vec<_> {
        plexus
            .calls_of(operation)
            .iter()
            .map(|call| call.config()["cniVersion"].clone())
            .collect()
    };
    assert_eq!(version("ADD"), ["0.3.1", "1.1.0", "1.0.0", "1.0.0"]);
    runtime.check(&target).expect_success();
    runtime.del(&target).expect_success();
    assert_eq!(version("CHECK"), ["1.1.0", "1.0.0", "1.0.0"]);
    assert_eq!(version("DEL"), ["1.0.0", "1.0.0", "1.1.0", "0.3.1"]);
    assert_eq!(plexus.network_status(&Pod::new("p")), None);
}
