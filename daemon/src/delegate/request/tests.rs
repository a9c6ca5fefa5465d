use std::sync::LazyLock;

use plexus_api::cni::{Defaults, Version};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::call_limits::CallLimits;
use crate::host::{Host, HostRoot};

fn network(version: &str, plugins: &str) -> NetworkConfig {
    let text = format!(r#"{{"name":"net","cniVersion":"{version}","plugins":[{plugins}]}}"#);
    NetworkConfig::parse(
        &text,
        Defaults {
            name: None,
            version: Version::LATEST,
        },
    )
    .expect("a network")
}

fn args(value: &Value) -> RawMap {
    serde_json::from_str(&value.to_string()).expect("an object")
}

fn previous() -> PluginResult {
    PluginResult::parse(br#"{"cniVersion":"1.0.0","x":1e400}"#, Version::V1_0_0).expect("a result")
}

/// The stdin of the first plugin of `network`, as a map.
fn request(network: &NetworkConfig, payload: Payload<'_>) -> RawMap {
    let bytes = stdin(network, &network.plugins[0], payload).expect("a request");
    serde_json::from_slice(&bytes).expect("an object")
}

fn container<'a>(capability_args: &'a RawMap, previous: Option<&'a PluginResult>) -> Payload<'a> {
    Payload::Attachment {
        capability_args,
        previous,
    }
}

fn keys(map: &RawMap) -> Vec<&str> {
    map.keys().map(String::as_str).collect()
}

#[test]
fn name_and_version_are_those_of_the_list() {
    plexus_api::rows!("R-020");
    let network = network(
        "1.0.0",
        r#"{"type":"a","name":"mine","cniVersion":"0.2.0"}"#,
    );
    let none = RawMap::new();
    for payload in [container(&none, None), Payload::Status, Payload::Gc(&[])] {
        let request = request(&network, payload);
        assert_eq!(request["name"].get(), r#""net""#);
        assert_eq!(request["cniVersion"].get(), r#""1.0.0""#);
    }
}

#[test]
fn reserved_keys_of_the_author_are_removed() {
    plexus_api::rows!("R-021", "R-025", "R-026", "R-028");
    let network = network(
        "1.1.0",
        r#"{"type":"a","prevResult":{"x":1},"runtimeConfig":{"mac":"x"},"Capabilities":{},"capabilitie\u017f":{"mac":true},
            "cni.dev/foo":1,"cni.dev/valid-attachments":[1],"cni.dev/attachments":[1],"PrevResult":{},
            "prevRe\u017fult":{},"RUNTIMECONFIG":{},"Name":"n","cniversion":"v","CNI.dev/foo":1,"cni.devices":1}"#,
    );
    let none = RawMap::new();
    assert_eq!(
        keys(&request(&network, container(&none, None))),
        ["cni.devices", "cniVersion", "name", "type"]
    );
    let gc = request(&network, Payload::Gc(&[]));
    assert_eq!(
        gc["cni.dev/valid-attachments"].get(),
        "[]",
        "not the author's list"
    );

    let mac = args(&json!({"mac": "02:00:00:00:00:01"}));
    let previous = previous();
    let request = request(&network, container(&mac, Some(&previous)));
    assert_eq!(
        request["runtimeConfig"].get(),
        r#"{"mac":"02:00:00:00:00:01"}"#
    );
    assert_eq!(
        request["prevResult"].get(),
        r#"{"cniVersion":"1.0.0","x":1e400}"#
    );
    assert_eq!(
        keys(&request),
        [
            "cni.devices",
            "cniVersion",
            "name",
            "prevResult",
            "runtimeConfig",
            "type"
        ]
    );
}

#[test]
fn each_plugin_gets_the_capability_arguments_that_it_declares() {
    plexus_api::rows!("R-024", "K-065");
    let args = args(&json!({
        "mac": "m", "portMappings": [{"hostPort": 1}], "cgroupPath": "/c", "io.kubernetes.cri.pod-annotations": null,
        "x-unknown": 1
    }));
    let cases = [
        (r#"{"mac":true}"#, Some(json!({"mac": "m"}))),
        (
            r#"{"portMappings":true,"ips":true}"#,
            Some(json!({"portMappings": [{"hostPort": 1}]})),
        ),
        (
            r#"{"cgroupPath":true,"x-unknown":true}"#,
            Some(json!({"cgroupPath": "/c", "x-unknown": 1})),
        ),
        (
            r#"{"io.kubernetes.cri.pod-annotations":true}"#,
            Some(json!({"io.kubernetes.cri.pod-annotations": null})),
        ),
        (r#"{"mac":false}"#, None),
        (r#"{"ips":true}"#, None),
        ("{}", None),
        ("null", None),
    ];
    for (capabilities, expected) in cases {
        let network = network(
            "1.0.0",
            &format!(r#"{{"type":"a","capabilities":{capabilities}}}"#),
        );
        let request = request(&network, container(&args, None));
        let got: Option<Value> = request
            .get("runtimeConfig")
            .map(|raw| serde_json::from_str(raw.get()).expect("an object"));
        assert_eq!(got, expected, "{capabilities}");
    }
}

#[test]
fn other_keys_are_passed_byte_for_byte() {
    plexus_api::rows!("R-027");
    let values = [
        "9007199254740993",
        "1e400",
        "0.1",
        "-0",
        r#"{"a":[{"b":{"c":[1.0,null,true]}}]}"#,
        r#""\u00e4ä\/""#,
        "[ 1 , 2 ]",
    ];
    for value in values {
        let network = network(
            "1.0.0",
            &format!(r#"{{"type":"a","x":{value},"ipam":{{"x":{value}}}}}"#),
        );
        let none = RawMap::new();
        for payload in [container(&none, None), Payload::Status, Payload::Gc(&[])] {
            let request = request(&network, payload);
            assert_eq!(request["x"].get(), value);
            assert_eq!(request["ipam"].get(), format!(r#"{{"x":{value}}}"#));
        }
    }
}

#[test]
fn gc_and_status_have_no_container() {
    plexus_api::rows!("R-034", "R-101");
    let network = network(
        "1.1.0",
        r#"{"type":"a","capabilities":{"mac":true},"prevResult":{},"runtimeConfig":{}}"#,
    );
    assert_eq!(
        keys(&request(&network, Payload::Status)),
        ["cniVersion", "name", "type"]
    );

    let attachments: Vec<_> = [("c1", "eth0"), ("c2", "net1")]
        .map(|(id, ifname)| ValidAttachment {
            container_id: id.to_owned(),
            ifname: ifname.to_owned(),
        })
        .into();
    for (valid, text) in [
        (Vec::new(), "[]"),
        (
            attachments,
            r#"[{"containerID":"c1","ifname":"eth0"},{"containerID":"c2","ifname":"net1"}]"#,
        ),
    ] {
        let gc = request(&network, Payload::Gc(&valid));
        assert_eq!(
            keys(&gc),
            [
                "cni.dev/attachments",
                "cni.dev/valid-attachments",
                "cniVersion",
                "name",
                "type"
            ]
        );
        assert_eq!(gc["cni.dev/attachments"].get(), text);
        assert_eq!(gc["cni.dev/valid-attachments"].get(), text);
    }

    let plugin = &network.plugins[0];
    for verb in [Verb::Status, Verb::Gc] {
        let env = environment(
            &call(&[("CNI_NETNS", "/n"), ("CNI_IFNAME", "eth9")]),
            verb,
            None,
            plugin,
            &[],
        );
        assert_eq!(
            env.keys().collect::<Vec<_>>(),
            ["CNI_COMMAND", "CNI_PATH", "PATH"]
        );
    }
}

fn call(env: &[(&str, &str)]) -> PluginCall {
    // A runtime must not be dropped in another runtime, so this one is never dropped.
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));
    PluginCall {
        host: Host::start(RUNTIME.handle().clone(), HostRoot::Own).expect("host"),
        container_id: "c1".to_owned(),
        netns: Some("/run/netns/c1".to_owned()),
        path: Vec::new(),
        env: env
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        limits: CallLimits::background("ADD", CancellationToken::new()),
    }
}

fn attachment(cni_args: &str) -> Attachment {
    Attachment {
        selected: true,
        cni_args: cni_args.to_owned(),
        ..Attachment::new("default/net", "net1", network("1.0.0", r#"{"type":"a"}"#))
    }
}

#[tokio::test]
async fn the_cni_variables_are_replaced() {
    plexus_api::rows!("R-029", "R-031", "R-042");
    let polluted: Vec<_> = ["COMMAND", "CONTAINERID", "NETNS", "IFNAME", "ARGS", "PATH"]
        .map(|name| (format!("CNI_{name}"), "polluted".to_owned()))
        .into();
    let polluted: Vec<_> = polluted
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let text = "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u;FOO=1";
    let attachment = attachment(text);
    let dirs = ["/opt/cni/bin".into(), "/usr/lib/cni".into()];
    for verb in [Verb::Add, Verb::Check, Verb::Del] {
        let env = environment(
            &call(&polluted),
            verb,
            Some(&attachment),
            &attachment.config.plugins[0],
            &dirs,
        );
        let expected = [
            ("CNI_ARGS", text),
            ("CNI_COMMAND", verb.as_str()),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "net1"),
            ("CNI_NETNS", "/run/netns/c1"),
            ("CNI_PATH", "/opt/cni/bin:/usr/lib/cni"),
            ("PATH", DEFAULT_PATH),
        ];
        let got: Vec<_> = env
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(got, expected);
    }
}

#[tokio::test]
async fn a_del_without_netns_gets_an_empty_netns() {
    let attachment = attachment("");
    let call = PluginCall {
        netns: None,
        ..call(&[])
    };
    let env = environment(
        &call,
        Verb::Del,
        Some(&attachment),
        &attachment.config.plugins[0],
        &[],
    );
    assert_eq!(env["CNI_NETNS"], "");
}

#[tokio::test]
async fn all_variables_of_the_caller_are_passed_on_except_those_of_the_shim() {
    plexus_api::rows!("P-021", "R-105");
    let passed = [
        ("BAGGAGE", "b"),
        ("CNI_NETNS_OVERRIDE", "1"),
        ("HTTPS_PROXY", "p"),
        ("LD_LIBRARY_PATH", "/lib"),
        ("NOTIFY_SOCKET", "n"),
        ("PATH", "/sbin"),
        ("TRACEPARENT", "t"),
        ("TRACESTATE", "s"),
    ];
    let withheld = [
        ("PLEXUS_SOCKET", "x"),
        ("NUL", "a\0b"),
        ("", "x"),
        ("a=b", "x"),
    ];
    let attachment = attachment("");
    let call = call(&[&passed[..], &withheld[..]].concat());
    let mut env = environment(
        &call,
        Verb::Add,
        Some(&attachment),
        &attachment.config.plugins[0],
        &[],
    );
    env.retain(|key, _| !key.starts_with("CNI_") || key == "CNI_NETNS_OVERRIDE");
    let got: Vec<_> = env
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(got, passed);
}

fn sent_args(cni_args: &str, ips: &str) -> String {
    let network = network(
        "1.0.0",
        &format!(r#"{{"type":"a","Args":{{"CNI":{{"x":1e400,"IPs":{ips}}}}}}}"#),
    );
    without_conflicting_ip(cni_args, &network.plugins[0])
}

#[test]
fn an_ip_argument_without_a_conflict_stays() {
    plexus_api::rows!("R-033");
    for (cni_args, ips, sent) in [
        (
            "A=1;IP=10.0.0.1;B=2",
            r#"["10.0.0.1/24"]"#,
            "A=1;IP=10.0.0.1;B=2",
        ),
        ("A=1;IP=10.0.0.2;B=2", r#"["10.0.0.1/24"]"#, "A=1;B=2"),
        ("IP=10.0.0.2", "[]", "IP=10.0.0.2"),
        ("IP=10.0.0.2", "5", "IP=10.0.0.2"),
        ("IP=10.0.0.1,10.0.0.2", r#"["10.0.0.1"]"#, ""),
        ("MAC=x", r#"["10.0.0.1"]"#, "MAC=x"),
    ] {
        assert_eq!(sent_args(cni_args, ips), sent, "{cni_args} with {ips}");
    }
}

proptest! {
    #[test]
    fn the_ip_argument_never_conflicts_with_the_configuration(
        legacy in proptest::collection::vec(0_u8..4, 0..4),
        preferred in proptest::collection::vec(0_u8..4, 1..4),
    ) {
        plexus_api::rows!("R-033");
        let list = |hosts: &[u8]| hosts.iter().map(|host| format!("10.0.0.{host}")).collect::<Vec<_>>();
        let ips = serde_json::to_string(&list(&preferred)).expect("strings");
        let sent = sent_args(&format!("K=V;IP={}", list(&legacy).join(",")), &ips);
        let args = CniArgs::parse_lossy(&sent);
        prop_assert_eq!(args.get("K"), Some("V"));
        for ip in args.get("IP").into_iter().flat_map(|ips| ips.split(',')) {
            prop_assert!(list(&preferred).iter().any(|preferred| preferred == ip));
        }
    }
}
