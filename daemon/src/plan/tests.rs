use std::collections::BTreeSet;
use std::net::IpAddr;

use plexus_api::cni::{CniArgs, CniError, Code, Defaults, NetworkConfig, RawMap, Version};
use plexus_api::rows;
use plexus_api::selection::{Bandwidth, PortMapping, Selection};

use super::{Plan, PlanInput, Policy, Selected, plan};
use crate::model::{
    CONFIG_SOURCE, DefaultRoutes, NetnsId, Network, Pod, PodRef, RouteOwner, place,
};

fn config(text: &str) -> NetworkConfig {
    let defaults = Defaults {
        name: Some("test"),
        version: Version::V1_0_0,
    };
    NetworkConfig::parse(text, defaults).expect("a network configuration")
}

fn network(name: &str, text: &str) -> Network {
    let namespace = name
        .split_once('/')
        .map(|(namespace, _)| namespace.to_owned());
    Network {
        name: name.to_owned(),
        namespace,
        config: config(text),
    }
}

/// A pod of namespace `ns` with the default network `cluster`.
fn input() -> PlanInput {
    PlanInput {
        ifname: "eth0".to_owned(),
        links: BTreeSet::from(["lo".to_owned()]),
        pod: PodRef {
            namespace: "ns".to_owned(),
            name: "pod".to_owned(),
            uid: "uid".to_owned(),
            is_static: false,
        },
        cni_args: CniArgs::parse("K8S_POD_NAMESPACE=ns;FOO=1").expect("args"),
        runtime_config: RawMap::new(),
        default: network("cluster", r#"{"type":"bridge"}"#),
        default_selection: None,
        everywhere: Vec::new(),
        selected: Vec::new(),
        policy: Policy {
            strict: false,
            namespace_isolation: false,
            global_namespaces: BTreeSet::from(["default".to_owned()]),
            default_network_namespaces: None,
            allowed_plugin_types: None,
        },
    }
}

fn select(input: &mut PlanInput, name: &str, text: &str, change: impl FnOnce(&mut Selection)) {
    let network = network(name, text);
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    let mut selection = Selection {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        ..Selection::default()
    };
    change(&mut selection);
    input.selected.push(Selected { selection, network });
}

fn macvlan(input: &mut PlanInput, change: impl FnOnce(&mut Selection)) {
    select(input, "ns/net-a", r#"{"type":"macvlan"}"#, change);
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.attachments
        .iter()
        .map(|attachment| attachment.ifname.as_str())
        .collect()
}

fn refused(input: &PlanInput, code: Code, parts: &[&str]) -> CniError {
    let error = plan(input).expect_err("refused");
    assert!(error.is(code), "{error}");
    for part in parts {
        assert!(error.msg.contains(part), "{error} should name {part:?}");
    }
    error
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn the_default_network_comes_first_then_those_of_every_pod_then_the_selected() {
    rows!("K-060", "K-048");
    let mut input = input();
    input
        .everywhere
        .push(network("kube-system/all", r#"{"type":"ptp"}"#));
    macvlan(&mut input, |_| {});
    macvlan(&mut input, |_| {});
    let plan = plan(&input).expect("a plan");
    let networks: Vec<_> = plan
        .attachments
        .iter()
        .map(|a| (a.network.as_str(), a.default))
        .collect();
    assert_eq!(
        networks,
        [
            ("cluster", true),
            ("kube-system/all", false),
            ("ns/net-a", false),
            ("ns/net-a", false)
        ]
    );
    assert_eq!(names(&plan), ["eth0", "net1", "net2", "net3"]);
    assert!(plan.warnings.is_empty());
}

#[test]
fn a_pod_has_no_more_networks_than_there_is_time_for() {
    let mut input = input();
    input
        .everywhere
        .push(network("kube-system/all", r#"{"type":"ptp"}"#));
    for _ in 0..63 {
        macvlan(&mut input, |_| {});
    }
    assert_eq!(plan(&input).expect("a plan").attachments.len(), 65);
    macvlan(&mut input, |_| {});
    refused(&input, Code::InvalidAnnotation, &["65 networks", "64"]);
}

#[test]
fn an_automatic_name_counts_positions_in_the_whole_list() {
    rows!("K-066");
    let mut input = input();
    macvlan(&mut input, |_| {});
    macvlan(&mut input, |s| s.interface = Some("foo".to_owned()));
    macvlan(&mut input, |_| {});
    assert_eq!(
        names(&plan(&input).expect("a plan")),
        ["eth0", "net1", "foo", "net3"]
    );
}

#[test]
fn a_name_that_is_taken_is_refused_before_anything_runs() {
    rows!("K-033", "K-067", "P-080");
    for name in ["eth0", "lo", "net1"] {
        let mut input = input();
        macvlan(&mut input, |_| {});
        macvlan(&mut input, |s| s.interface = Some(name.to_owned()));
        refused(&input, Code::InterfaceTaken, &[name, "ns/net-a"]);
    }
    let mut input = input();
    macvlan(&mut input, |s| s.interface = Some("net2".to_owned()));
    macvlan(&mut input, |_| {});
    refused(&input, Code::InterfaceTaken, &["net2"]);
    for link in ["eth0", "net1"] {
        let mut input = self::input();
        macvlan(&mut input, |_| {});
        input.links.insert(link.to_owned());
        refused(&input, Code::InterfaceTaken, &[link, "link in the sandbox"]);
    }
}

#[test]
fn the_runtime_s_arguments_go_to_the_default_network_alone_and_all_of_them() {
    rows!("C-04", "C-05", "K-064", "K-065");
    let mut input = input();
    input.runtime_config = serde_json::from_str(
        r#"{"portMappings":[{"HostPort":1}],"bandwidth":{"IngressBurst":4294967295},"cgroupPath":"/x","dns":null,
            "vendor":{"big":9007199254740993}}"#,
    )
    .expect("runtimeConfig");
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
fn what_a_pod_asks_for_becomes_capability_arguments() {
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

type Ask = fn(&mut Selection);
const ASKS: [(&str, Ask); 5] = [
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
fn a_capability_that_no_plugin_declares_is_an_error_under_strict_and_a_warning_otherwise() {
    rows!("K-029", "K-031", "K-037", "K-039", "K-043");
    for (capability, ask) in ASKS {
        for declared in [
            String::new(),
            format!(r#","capabilities":{{"{capability}":false}}"#),
        ] {
            let mut input = input();
            select(
                &mut input,
                "ns/b",
                &format!(r#"{{"type":"x"{declared}}}"#),
                ask,
            );
            let plan = plan(&input).expect("attached without it");
            assert_eq!(plan.warnings.len(), 1, "{capability}");
            assert!(
                plan.warnings[0].text.contains(capability)
                    && plan.warnings[0].text.contains("ns/b")
            );
            input.policy.strict = true;
            refused(&input, Code::InvalidConfig, &[capability, "ns/b"]);
        }
        // One plugin of the chain is enough.
        let mut input = input();
        input.policy.strict = true;
        let text = format!(
            r#"{{"plugins":[{{"type":"x"}},{{"type":"y","capabilities":{{"{capability}":true}}}}]}}"#
        );
        select(&mut input, "ns/b", &text, ask);
        assert!(plan(&input).expect("declared").warnings.is_empty());
    }
}

#[test]
fn addresses_go_one_way_only_by_capability_or_by_cni_args() {
    rows!("R-032", "R-033");
    let ask = |s: &mut Selection| {
        s.ips = vec!["10.0.0.2/24".to_owned(), "fd00::2/64".to_owned()];
        s.mac = Some("02:00:00:00:00:01".to_owned());
    };
    let mut input = input();
    select(
        &mut input,
        "ns/b",
        r#"{"type":"x","capabilities":{"ips":true,"mac":true}}"#,
        ask,
    );
    select(&mut input, "ns/c", r#"{"type":"x"}"#, ask);
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
fn cni_args_of_the_pod_win_over_those_of_the_definition_key_by_key() {
    rows!("K-034");
    let mut input = input();
    let cni_args: RawMap = serde_json::from_str(r#"{"a":1}"#).expect("cni-args");
    let text = r#"{"plugins":[{"type":"x","args":{"cni":{"a":0,"b":2},"x":3}},{"type":"y"},{"type":"z","args":null}]}"#;
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
    for wrong in [
        r#"{"type":"x","args":"text"}"#,
        r#"{"type":"x","args":{"cni":[1]}}"#,
    ] {
        let mut input = self::input();
        select(&mut input, "ns/b", wrong, |s| s.cni_args = cni_args.clone());
        refused(&input, Code::InvalidConfig, &["ns/b", "args"]);
    }
    let mut input = self::input();
    select(&mut input, "ns/b", r#"{"type":"x","args":"text"}"#, |_| {});
    assert!(
        plan(&input).is_ok(),
        "args of a definition are not ours to judge where the pod has none"
    );
}

#[test]
fn cni_args_keep_the_runtime_s_pairs_and_let_plugins_ignore_what_they_do_not_know() {
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
fn a_default_network_of_the_pod_s_choice_keeps_the_runtime_s_interface_name() {
    rows!("K-063");
    let mut input = input();
    input.runtime_config =
        serde_json::from_str(r#"{"mac":"02:00:00:00:00:09","dns":{}}"#).expect("runtimeConfig");
    input.default = network(
        "kube-system/calico",
        r#"{"type":"calico","capabilities":{"mac":true}}"#,
    );
    input.default_selection = Some(Selection {
        interface: Some("x0".to_owned()),
        mac: Some("02:00:00:00:00:01".to_owned()),
        ..Selection::default()
    });
    let plan = plan(&input).expect("a plan");
    assert_eq!(names(&plan), ["eth0"]);
    assert!(
        plan.warnings[0].text.contains("ignored"),
        "{:?}",
        plan.warnings
    );
    assert_eq!(
        plan.attachments[0].capability_args["mac"].get(),
        r#""02:00:00:00:00:01""#
    );
    assert!(plan.attachments[0].capability_args.contains_key("dns"));
}

#[test]
fn one_gateway_of_each_family_over_all_elements() {
    rows!("K-040");
    let routes = |lists: &[Option<&[&str]>]| {
        let mut input = input();
        for list in lists {
            macvlan(&mut input, |s| {
                s.default_route = list.map(|list| list.iter().map(|g| ip(g)).collect());
            });
        }
        plan(&input).map(|plan| plan.default_routes)
    };
    let owner = |attachment, gateway: &str| {
        Some(RouteOwner {
            attachment,
            gateway: Some(ip(gateway)),
        })
    };
    let keeper = |attachment| {
        Some(RouteOwner {
            attachment,
            gateway: None,
        })
    };
    assert_eq!(routes(&[None, None]), Ok(DefaultRoutes::default()));
    assert_eq!(
        routes(&[None, Some(&["10.0.0.1"])]),
        Ok(DefaultRoutes {
            v4: owner(2, "10.0.0.1"),
            v6: None
        })
    );
    assert_eq!(
        routes(&[Some(&["10.0.0.1"]), Some(&["fd00::1"])]),
        Ok(DefaultRoutes {
            v4: owner(1, "10.0.0.1"),
            v6: owner(2, "fd00::1")
        })
    );
    assert_eq!(
        routes(&[Some(&[])]),
        Ok(DefaultRoutes {
            v4: keeper(1),
            v6: keeper(1)
        })
    );
    assert_eq!(
        routes(&[Some(&["10.0.0.1"]), Some(&[])]),
        Ok(DefaultRoutes {
            v4: owner(1, "10.0.0.1"),
            v6: keeper(2)
        })
    );
    for wrong in [
        &[Some(&["10.0.0.1", "10.0.0.2"][..])][..],
        &[Some(&["fd00::1"][..]), Some(&["fd00::2"][..])],
        &[Some(&[][..]), Some(&[][..])],
    ] {
        let error = routes(wrong).expect_err("two owners");
        assert!(
            error.is(Code::InvalidAnnotation) && error.msg.contains("default-route"),
            "{error}"
        );
    }
}

#[test]
fn isolation_holds_for_the_selected_and_for_the_default_network() {
    let mut input = input();
    input.policy.namespace_isolation = true;
    for allowed in ["ns/own", "default/shared"] {
        select(&mut input, allowed, r#"{"type":"x"}"#, |_| {});
    }
    assert!(plan(&input).is_ok());
    let mut other = input.clone();
    select(&mut other, "other/b", r#"{"type":"x"}"#, |_| {});
    refused(
        &other,
        Code::Forbidden,
        &["other/b", "\"ns\"", "globalNamespaces"],
    );
    other.policy.namespace_isolation = false;
    assert!(plan(&other).is_ok());
    input.default = network("other/b", r#"{"type":"x"}"#);
    assert!(
        plan(&input).is_ok(),
        "what the node's configuration names needs no leave"
    );
    input.default_selection = Some(Selection::default());
    refused(&input, Code::Forbidden, &["other/b"]);
}

#[test]
fn only_listed_namespaces_may_replace_the_default_network() {
    let mut input = input();
    input.default = network("ns/b", r#"{"type":"x"}"#);
    input.default_selection = Some(Selection::default());
    assert!(plan(&input).is_ok());
    input.policy.default_network_namespaces = Some(BTreeSet::from(["kube-system".to_owned()]));
    refused(
        &input,
        Code::Forbidden,
        &["ns/b", "defaultNetworkNamespaces"],
    );
    input.default = network("kube-system/b", r#"{"type":"x"}"#);
    assert!(plan(&input).is_ok());
    select(&mut input, "ns/c", r#"{"type":"x"}"#, |_| {});
    assert!(plan(&input).is_ok(), "it is about the default network only");
}

#[test]
fn plugin_types_of_definitions_can_be_listed_ipam_included() {
    let mut input = input();
    input.policy.allowed_plugin_types =
        Some(BTreeSet::from(["macvlan".to_owned(), "static".to_owned()]));
    select(
        &mut input,
        "ns/a",
        r#"{"type":"macvlan","ipam":{"type":"static"}}"#,
        |_| {},
    );
    assert!(
        plan(&input).is_ok(),
        "the default network of the node is not a definition of a pod's choice"
    );
    for wrong in [
        r#"{"type":"bridge"}"#,
        r#"{"type":"macvlan","ipam":{"type":"dhcp"}}"#,
        r#"{"plugins":[{"type":"macvlan"},{"type":"tuning"}]}"#,
    ] {
        let mut input = input.clone();
        select(&mut input, "ns/b", wrong, |_| {});
        refused(
            &input,
            Code::Forbidden,
            &["ns/b", "allowedPluginTypes", "macvlan, static"],
        );
    }
}

#[test]
fn a_network_that_leads_back_to_us_is_refused() {
    for wrong in [
        r#"{"type":"plexus"}"#,
        r#"{"type":"multus"}"#,
        r#"{"plugins":[{"type":"x"},{"type":"multus-shim"}]}"#,
        r#"{"type":"flannel","delegate":{"type":"plexus"}}"#,
        r#"{"type":"x","deep":[{"er":{"type":"multus"}}]}"#,
    ] {
        let mut input = input();
        select(&mut input, "ns/b", wrong, |_| {});
        refused(&input, Code::InvalidConfig, &["ns/b", "wait for itself"]);
        input.default = input.selected.remove(0).network;
        refused(&input, Code::InvalidConfig, &["ns/b"]);
    }
}

#[test]
fn the_same_network_twice_gives_two_attachments_that_differ_in_interface_only() {
    rows!("K-049");
    let mut input = input();
    macvlan(&mut input, |_| {});
    macvlan(&mut input, |_| {});
    let plan = plan(&input).expect("a plan");
    let tuple = |i: usize| {
        (
            plan.attachments[i].config.name.clone(),
            plan.attachments[i].ifname.clone(),
        )
    };
    assert_eq!(tuple(1).0, tuple(2).0);
    assert_ne!(tuple(1).1, tuple(2).1);
}

#[test]
fn an_attachment_is_named_by_network_and_interface() {
    let planned = plan(&input()).expect("a plan");
    assert_eq!(
        planned.attachments[0].place(),
        r#"network "cluster" interface "eth0""#
    );
    assert_eq!(planned.attachments[0].place(), place("cluster", "eth0"));
}

#[test]
fn a_namespace_may_be_another_of_its_number_unless_a_cookie_tells_them_apart() {
    let id = |dev, ino, cookie| NetnsId { dev, ino, cookie };
    for (one, other, may) in [
        (id(4, 10, Some(1)), id(4, 10, Some(1)), true),
        (id(4, 10, Some(1)), id(4, 10, Some(2)), false),
        (id(4, 10, Some(1)), id(4, 11, Some(1)), false),
        (id(5, 10, Some(1)), id(4, 10, Some(1)), false),
        (id(4, 10, None), id(4, 10, Some(2)), true),
        (id(4, 10, Some(1)), id(4, 10, None), true),
        (id(4, 10, None), id(4, 11, None), false),
    ] {
        assert_eq!(one.may_be(other), may, "{one:?} {other:?}");
    }
}

#[test]
fn a_pod_is_named_by_namespace_and_name() {
    assert_eq!(input().pod.to_string(), "ns/pod");
    let forged = PodRef {
        name: "a\nERROR \u{1b}[31m".to_owned(),
        ..input().pod
    };
    assert_eq!(forged.to_string(), "ns/a\\nERROR \\u{1b}[31m");
}

#[test]
fn only_the_default_network_ignores_the_name_asked_for() {
    let mut input = input();
    macvlan(&mut input, |s| s.interface = Some("foo".to_owned()));
    assert!(plan(&input).expect("a plan").warnings.is_empty());
}

#[test]
fn a_pod_answers_to_its_uid_unless_it_is_the_mirror_of_a_static_one() {
    rows!("P-019");
    let pod = |uid: &str, source: Option<&str>| Pod {
        uid: uid.to_owned(),
        annotations: source
            .map(|source| (CONFIG_SOURCE.to_owned(), source.to_owned()))
            .into_iter()
            .collect(),
        ..Pod::default()
    };
    for (known, source, asked, answers) in [
        ("u1", None, "u1", true),
        ("u1", None, "u2", false),
        ("u1", Some("api"), "u2", false),
        ("u1", Some("file"), "u2", true),
        ("", None, "u2", true),
        ("u1", None, "", true),
    ] {
        assert_eq!(
            pod(known, source).answers_to(asked),
            answers,
            "{known} {source:?} {asked}"
        );
    }
    assert!(pod("", Some("http")).is_static());
    assert!(!pod("", Some("api")).is_static() && !pod("", None).is_static());
}
