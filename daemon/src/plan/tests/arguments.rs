use plexus_api::cni::{CniArgs, Code};
use plexus_api::json::RawMap;
use plexus_api::rows;
use plexus_api::selection::{Bandwidth, PortMapping, Selection};

use super::{assert_refused, input, macvlan, network, plan, select};
use crate::plan::WarningKind;

type Request = fn(&mut Selection);

/// A request for each capability.
const REQUESTS: [(&str, Request); 5] = [
    ("ips", |s| s.ips = vec!["10.0.0.2/24".to_owned()]),
    ("mac", |s| s.mac = Some("02:00:00:00:00:01".to_owned())),
    ("portMappings", |s| {
        s.port_mappings = vec![PortMapping {
            host_port: 1,
            container_port: 2,
            protocol: "tcp".to_owned(),
            host_ip: String::new(),
        }];
    }),
    ("bandwidth", |s| {
        s.bandwidth = Some(Bandwidth {
            ingress_rate: 1,
            ingress_burst: 2,
            egress_rate: 0,
            egress_burst: 0,
        });
    }),
    ("infinibandGUID", |s| {
        s.infiniband_guid = Some("24:8a:07:03:00:8d:ae:2f".to_owned());
    }),
];

#[test]
fn only_the_default_network_gets_the_arguments_of_the_runtime() {
    rows!("C-04", "C-05", "K-064", "K-065");
    let mut input = input();
    input.runtime_config = serde_json::from_str(
        r#"{"portMappings":[{"HostPort":1}],"bandwidth":{"IngressBurst":4294967295},"cgroupPath":"/x","dns":null,
            "vendor":{"big":9007199254740993},"io.kubernetes.cri.pod-annotations":{"note":"secret"}}"#,
    )
    .expect("runtimeConfig");
    let default_network = r#"{"plugins":[
        {"type":"bridge","capabilities":{"bandwidth":true,"cgroupPath":true,"dns":true,"ips":true}},
        {"type":"vendor","capabilities":{"portMappings":true,"vendor":true}}]}"#;
    input.default_network = network("cluster", default_network);
    select(
        &mut input,
        "ns/b",
        r#"{"type":"bridge","capabilities":{"portMappings":true}}"#,
        |_| {},
    );
    let plan = plan(&input).expect("a plan");
    let keys: Vec<_> = plan.attachments[0]
        .capability_args
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        ["bandwidth", "cgroupPath", "dns", "portMappings", "vendor"]
    );
    for (key, expected) in [
        ("bandwidth", r#"{"IngressBurst":4294967295}"#),
        ("dns", "null"),
        ("portMappings", r#"[{"HostPort":1}]"#),
        ("vendor", r#"{"big":9007199254740993}"#),
    ] {
        assert_eq!(plan.attachments[0].capability_args[key].get(), expected);
    }
    assert!(plan.attachments[1].capability_args.is_empty());
}

#[test]
fn a_request_becomes_capability_arguments() {
    rows!("D-031");
    let mut input = input();
    let text = r#"{"type":"x","capabilities":
        {"ips":true,"mac":true,"infinibandGUID":true,"portMappings":true,"bandwidth":true,"deviceID":true}}"#;
    select(&mut input, "ns/b", text, |s| {
        s.ips = vec!["10.0.0.2/24".to_owned()];
        s.mac = Some("02:00:00:00:00:01".to_owned());
        s.infiniband_guid = Some("24:8a:07:03:00:8d:ae:2f".to_owned());
        s.port_mappings = vec![PortMapping {
            host_port: 1,
            container_port: 2,
            protocol: "tcp".to_owned(),
            host_ip: String::new(),
        }];
        s.bandwidth = Some(Bandwidth {
            ingress_rate: 1,
            ingress_burst: 2,
            egress_rate: 3,
            egress_burst: 4,
        });
        s.device_id = Some("0000:03:02.0".to_owned());
    });
    let plan = plan(&input).expect("a plan");
    let attachment = &plan.attachments[1];
    let args = serde_json::to_value(&attachment.capability_args).expect("JSON");
    assert_eq!(
        args,
        serde_json::json!({
            "ips": ["10.0.0.2/24"],
            "mac": "02:00:00:00:00:01",
            "infinibandGUID": "24:8a:07:03:00:8d:ae:2f",
            "portMappings": [{"hostPort": 1, "containerPort": 2, "protocol": "tcp"}],
            "bandwidth": {"ingressRate": 1, "ingressBurst": 2, "egressRate": 3, "egressBurst": 4},
            "deviceID": "0000:03:02.0",
        })
    );
    let plugin = &attachment.config.plugins[0];
    assert_eq!(
        plugin.get::<String>("deviceID").as_deref(),
        Some("0000:03:02.0")
    );
    assert_eq!(
        plugin.get::<String>("pciBusID").as_deref(),
        Some("0000:03:02.0")
    );
    assert_eq!(
        attachment.cni_args,
        "K8S_POD_NAMESPACE=ns;FOO=1;IgnoreUnknown=1"
    );
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
}

#[test]
fn a_network_with_a_device_or_the_capability_has_a_device_info_file() {
    rows!("D-002", "D-006");
    let mut input = input();
    let declaring = r#"{"type":"x","capabilities":{"CNIDeviceInfoFile":true}}"#;
    for name in ["ns/a", "ns/a", "ns/b"] {
        select(&mut input, name, declaring, |_| {});
    }
    for name in ["ns/c", "ns/d"] {
        select(&mut input, name, r#"{"type":"x"}"#, |s| {
            s.device_id = Some("0000:03:02.0".to_owned());
        });
    }
    // The last network has a device without a resource, which no device plugin describes.
    input.selected[3].network.resource_name = Some("vendor.com/vf".to_owned());
    let attachments = plan(&input).expect("a plan").attachments;
    let files: Vec<_> = attachments
        .iter()
        .map(|attachment| attachment.device_info_file.as_ref()?.file_name()?.to_str())
        .collect();
    let expected = [
        None,
        Some("ns-a-c1_net1"),
        Some("ns-a-c1_net2"),
        Some("ns-b-c1_net3"),
        Some("ns-c-c1_net4"),
        None,
    ];
    assert_eq!(files, expected);
    for attachment in &attachments {
        let passed = attachment.capability_args.get("CNIDeviceInfoFile");
        let declared = attachment.config.declares("CNIDeviceInfoFile");
        let file = attachment.device_info_file.as_ref();
        let expected = file
            .filter(|_| declared)
            .map(|file| format!("{:?}", file.display().to_string()));
        assert_eq!(passed.map(|raw| raw.get()), expected.as_deref());
    }
}

#[test]
fn an_undeclared_capability_is_an_error_with_strict_and_otherwise_a_warning() {
    rows!("K-029", "K-031", "K-037", "K-039", "K-043");
    for (capability, request) in REQUESTS {
        for declared in [
            String::new(),
            format!(r#","capabilities":{{"{capability}":false}}"#),
        ] {
            let mut input = input();
            select(
                &mut input,
                "ns/b",
                &format!(r#"{{"type":"x"{declared}}}"#),
                request,
            );
            let plan = plan(&input).expect("attached without the capability");
            assert_eq!(plan.warnings.len(), 1, "{capability}");
            assert!(
                plan.warnings[0].text.contains(capability)
                    && plan.warnings[0].text.contains("ns/b")
            );
            input.policy.strict = true;
            assert_refused(&input, Code::InvalidConfig, &[capability, "ns/b"]);
        }
        // One plugin of the chain is enough.
        let mut input = input();
        input.policy.strict = true;
        let text = format!(
            r#"{{"plugins":[{{"type":"x"}},{{"type":"y","capabilities":{{"{capability}":true}}}}]}}"#
        );
        select(&mut input, "ns/b", &text, request);
        assert!(plan(&input).expect("declared").warnings.is_empty());
    }
}

#[test]
fn addresses_are_passed_as_a_capability_or_in_cni_args_but_never_both() {
    rows!("R-032", "R-033");
    let request = |s: &mut Selection| {
        s.ips = vec!["10.0.0.2/24".to_owned(), "fd00::2/64".to_owned()];
        s.mac = Some("02:00:00:00:00:01".to_owned());
    };
    let mut input = input();
    select(
        &mut input,
        "ns/b",
        r#"{"type":"x","capabilities":{"ips":true,"mac":true}}"#,
        request,
    );
    select(&mut input, "ns/c", r#"{"type":"x"}"#, request);
    select(&mut input, "ns/d", r#"{"type":"x"}"#, |_| {});
    let plan = plan(&input).expect("a plan");
    assert!(!plan.attachments[1].cni_args.contains("IP="));
    assert!(!plan.attachments[1].cni_args.contains("MAC="));
    assert!(
        plan.attachments[2]
            .cni_args
            .ends_with("MAC=02:00:00:00:00:01;IP=10.0.0.2/24,fd00::2/64")
    );
    assert!(!plan.attachments[3].cni_args.contains("MAC="));
}

#[test]
fn cni_args_of_the_pod_override_those_of_the_definition_key_by_key() {
    rows!("K-034");
    let mut input = input();
    let cni_args: RawMap = serde_json::from_str(r#"{"a":1}"#).expect("cni-args");
    let text = r#"{"plugins":[{"type":"x","args":{"cni":{"a":0,"b":2},"x":3}},{"type":"y"},{"type":"z","args":null},
        {"type":"u","Args":{"x":1,"CNI":{"a":0,"b":2}}}]}"#;
    select(&mut input, "ns/b", text, |s| s.cni_args = cni_args.clone());
    let planned = plan(&input).expect("a plan");
    let plugins = &planned.attachments[1].config.plugins;
    let args = |i: usize| plugins[i].get::<serde_json::Value>("args").expect("args");
    assert_eq!(
        args(0),
        serde_json::json!({"cni": {"a": 1, "b": 2}, "x": 3})
    );
    assert_eq!(args(1), serde_json::json!({"cni": {"a": 1}}));
    assert_eq!(args(2), serde_json::json!({"cni": {"a": 1}}));
    assert_eq!(
        args(3),
        serde_json::json!({"cni": {"a": 1, "b": 2}, "x": 1})
    );
    assert!(!plugins[3].as_map().contains_key("Args"));
    for invalid in [
        r#"{"type":"x","args":"text"}"#,
        r#"{"type":"x","args":{"cni":[1]}}"#,
    ] {
        let mut input = self::input();
        select(&mut input, "ns/b", invalid, |s| {
            s.cni_args = cni_args.clone();
        });
        assert_refused(&input, Code::InvalidConfig, &["ns/b", "args"]);
    }
    let mut input = self::input();
    select(&mut input, "ns/b", r#"{"type":"x","args":"text"}"#, |_| {});
    assert!(
        plan(&input).is_ok(),
        "args of a definition are not checked if the pod has no cni-args"
    );
}

#[test]
fn cni_args_keep_the_pairs_of_the_runtime_and_set_ignore_unknown() {
    let args = |text: &str| {
        let mut input = input();
        input.cni_args = CniArgs::parse(text).expect("args");
        plan(&input).expect("a plan").attachments[0]
            .cni_args
            .clone()
    };
    assert_eq!(args("A=1"), "A=1;IgnoreUnknown=1");
    assert_eq!(args("IgnoreUnknown=true;A=1"), "IgnoreUnknown=true;A=1");
    assert_eq!(args("IgnoreUnknown=0;A=1"), "A=1;IgnoreUnknown=1");
}

#[test]
fn the_warning_says_what_was_done_without_the_capability() {
    for (request, part) in [
        ("ips", "passed as IP in CNI_ARGS"),
        ("mac", "passed as MAC in CNI_ARGS"),
        ("bandwidth", "the pod runs without it"),
    ] {
        let mut input = input();
        macvlan(&mut input, |selection| match request {
            "ips" => selection.ips = vec!["10.0.0.5".to_owned()],
            "mac" => selection.mac = Some("02:00:00:00:00:01".to_owned()),
            _ => {
                selection.bandwidth = Some(Bandwidth {
                    ingress_rate: 1,
                    ingress_burst: 1,
                    egress_rate: 0,
                    egress_burst: 0,
                });
            }
        });
        let plan = plan(&input).expect("attached");
        let [warning] = &plan.warnings[..] else {
            panic!("{:?}", plan.warnings)
        };
        assert!(warning.text.contains(part), "{}", warning.text);
        assert_eq!(warning.kind, WarningKind::CapabilityMissing);
    }
}

#[test]
fn a_plugin_that_reads_the_annotation_needs_no_capability() {
    let mut input = input();
    let text = r#"{"cniVersion":"1.0.0","type":"ovn-k8s-cni-overlay"}"#;
    select(&mut input, "ns/ovn", text, |selection| {
        selection.ips = vec!["10.0.0.5/24".to_owned()];
        selection.mac = Some("02:00:00:00:00:01".to_owned());
    });
    for strict in [false, true] {
        input.policy.strict = strict;
        assert!(plan(&input).expect("attached").warnings.is_empty());
    }
}
