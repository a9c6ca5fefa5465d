//! Long text in calls, annotations and definitions, which errors and logs must not repeat.

use std::collections::BTreeMap;

use plexus_api::wire::Request;
use plexus_e2e::{Plexus, Pod, attaches, node};
use serde_json::json;

/// The longest text of one environment variable that the kernel accepts is 128 KiB.
const LONG_VARIABLE: usize = 100_000;
const LONG: usize = 1_000_000;

/// The length of an error and of the log lines about it.
const MAX_ERROR: usize = 2_000;
const MAX_LOG: usize = 4_000;

#[test]
fn errors_and_logs_cut_long_text_of_a_call() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let long = "a".repeat(LONG);
    let variable = "a".repeat(LONG_VARIABLE);
    let (_sandbox, target) = plexus.sandbox("p", "");
    let before = plexus.daemon.log().len();
    for keys in [
        json!({"cniVersion": long}),
        json!({"name": format!("-{long}")}),
        json!({"name": long}),
        json!({"daemonWaitAdd": long}),
        json!({"daemonWaitAdd": [long]}),
        json!({"delWhenDown": long}),
        json!({"lookupWait": long}),
    ] {
        let output = plexus.runtime_with(keys).add(&target);
        assert!(
            !output.ok() && output.stdout.len() < MAX_ERROR,
            "{output:.3000?}"
        );
    }
    let args = format!("K8S_POD_NAMESPACE=default;K8S_POD_NAME={variable}");
    for (key, value) in [
        ("CNI_ARGS", &args),
        ("CNI_ARGS", &variable),
        ("CNI_COMMAND", &variable),
        ("CNI_CONTAINERID", &variable),
        ("CNI_IFNAME", &variable),
        ("CNI_NETNS", &variable),
    ] {
        let output = plexus
            .runtime
            .add(&target.clone().with_env(key, Some(value)));
        assert!(!output.ok() && output.stdout.len() < MAX_ERROR, "{key}");
    }
    let log = plexus.daemon.log();
    assert!(
        log.len() - before < 10 * MAX_LOG,
        "{} bytes",
        log.len() - before
    );
}

#[test]
fn errors_and_logs_cut_long_text_of_a_client_of_the_socket() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let long = "a".repeat(LONG);
    let variables = |key: &str| {
        let mut env: BTreeMap<String, String> = [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/proc/1/ns/net"),
            ("CNI_ARGS", "K8S_POD_NAMESPACE=default;K8S_POD_NAME=p"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        env.insert(key.to_owned(), long.clone());
        env
    };
    for key in [
        "CNI_COMMAND",
        "CNI_CONTAINERID",
        "CNI_IFNAME",
        "CNI_NETNS",
        "CNI_ARGS",
    ] {
        let before = plexus.daemon.log().len();
        let request = Request {
            env: variables(key),
            config: br#"{"cniVersion":"1.0.0","name":"plexus"}"#.to_vec(),
            at: None,
        };
        let body = serde_json::to_vec(&request).expect("a request is JSON");
        let reply = plexus.daemon.post("/cni", &body).expect("a reply");
        assert!(reply.status != 200 && reply.body.len() < MAX_ERROR, "{key}");
        let logged = plexus.daemon.log().len() - before;
        assert!(logged < MAX_LOG, "{key}: {logged} bytes");
    }
    let before = plexus.daemon.log().len();
    let body = format!(r#"{{"env":"{long}"}}"#);
    let reply = plexus
        .daemon
        .post("/cni", body.as_bytes())
        .expect("a reply");
    assert!(reply.status != 200 && reply.body.len() < MAX_ERROR);
    assert!(plexus.daemon.log().len() - before < MAX_LOG);
}

#[test]
fn errors_and_logs_cut_long_text_of_a_definition_or_annotation() {
    let node = node!();
    let plexus = Plexus::start(&node);
    node.plugin("a", &attaches());
    let long = "a".repeat(LONG);
    let before = plexus.daemon.log().len();
    for (number, config) in [
        json!({"cniVersion": long, "type": "a"}),
        json!({"cniVersions": [long], "type": "a"}),
        json!({"name": format!("-{long}"), "type": "a"}),
        json!({"name": long, "type": "a"}),
        json!({"type": long}),
        json!({"type": format!("/{long}")}),
        json!({"plugins": [{"type": "a"}, {"type": long}]}),
        json!({"disableCheck": long, "type": "a"}),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("n{number}");
        plexus.manifests.definition(&name, config);
        let (_sandbox, target) = plexus.sandbox(&format!("p{number}"), &name);
        let output = plexus.runtime.add(&target);
        assert!(
            !output.ok() && output.stdout.len() < MAX_ERROR,
            "{name}: {output:.3000?}"
        );
    }
    let variable = "a".repeat(LONG_VARIABLE);
    for (number, networks) in [
        variable.clone(),
        format!(r#"[{{"name":"{variable}"}}]"#),
        format!(r#"[{{"name":"n","mac":"{variable}"}}]"#),
        format!(r#"[{{"name":"n","ips":[["{variable}"]]}}]"#),
        format!(r#"[{{"name":"n","portMappings":{variable}}}]"#),
    ]
    .iter()
    .enumerate()
    {
        let sandbox = node.sandbox(&format!("a{number}"));
        let pod = Pod::new(&format!("a{number}")).with_networks(networks);
        let output = plexus.runtime.add(&sandbox.target(&pod));
        assert!(
            !output.ok() && output.stdout.len() < MAX_ERROR,
            "{output:.3000?}"
        );
    }
    let log = plexus.daemon.log();
    assert!(
        log.len() - before < 13 * MAX_LOG,
        "{} bytes",
        log.len() - before
    );
}
