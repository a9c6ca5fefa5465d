//! The objects as written, without kustomize.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use clap::Parser as _;
use plexus_api::wire::{SOCKET_DIR, STATE_DIR};
use plexus_e2e::binaries::binary;
use plexus_e2e::workspace::read;
use plexusd::cli::Cli;
use plexusd::config::{Fields, Settings};
use serde_json::{Value, json};

use crate::objects::{Objects, check_schema, documents};

const CONFIG: &str = "deploy/node/daemon-config.json";
const CRD: &str = "deploy/crd/network-attachment-definitions.yaml";

fn strings(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn settings(path: &str) -> Settings {
    let fields = Fields::parse(&read(path)).expect("JSON");
    assert_eq!(
        Settings::unknown_keys(&fields),
        Vec::<&str>::new(),
        "{path}"
    );
    Settings::read(&fields).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn objects_match_the_schema_of_their_kind() {
    let mut objects = Objects::of_node().0;
    for file in [
        CRD,
        "deploy/crd/keep-definitions.yaml",
        "deploy/components/openshift/scc.yaml",
    ] {
        objects.extend(documents(&read(file)));
    }
    assert!(objects.len() > 8, "{objects:?}");
    objects.iter().for_each(check_schema);
}

#[test]
fn the_crd_matches_the_specification() {
    plexus_api::rows!("K-001", "K-002");
    let crd = &documents(&read(CRD))[0];
    let spec = &crd["spec"];
    assert_eq!(
        crd["metadata"]["name"],
        "network-attachment-definitions.k8s.cni.cncf.io"
    );
    assert_eq!(
        (&spec["group"], &spec["scope"]),
        (&json!("k8s.cni.cncf.io"), &json!("Namespaced"))
    );
    let names = &spec["names"];
    assert_eq!(names["kind"], "NetworkAttachmentDefinition");
    assert_eq!(names["plural"], "network-attachment-definitions");
    assert_eq!(names["singular"], "network-attachment-definition");
    // The name of the specification, and the one of Multus.
    assert_eq!(strings(&names["shortNames"]), ["net-attach-def", "nad"]);
    let [version] = &spec["versions"].as_array().expect("versions")[..] else {
        panic!("{spec}")
    };
    assert_eq!(
        (&version["name"], &version["served"], &version["storage"]),
        (&json!("v1"), &json!(true), &json!(true))
    );
    let schema = &version["schema"]["openAPIV3Schema"];
    assert_eq!(
        schema["properties"]["spec"]["properties"]["config"]["type"],
        "string"
    );
    let required = [schema, &schema["properties"]["spec"]].map(|schema| schema.get("required"));
    assert_eq!(required, [None, None], "spec and config are optional");
}

#[test]
fn plexusd_crd_prints_the_crd_of_deploy() {
    plexus_api::rows!("K-001");
    let output = Command::new(binary("plexusd"))
        .arg("crd")
        .output()
        .expect("execute plexusd");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), read(CRD));
}

#[test]
fn the_role_grants_only_what_plexusd_needs() {
    plexus_api::rows!("K-110", "K-111");
    let objects = Objects::of_node();
    let mut granted = BTreeSet::new();
    for rule in objects.one("ClusterRole")["rules"]
        .as_array()
        .expect("rules")
    {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                granted.extend(
                    strings(&rule["verbs"])
                        .iter()
                        .map(|verb| format!("{verb} {group}/{resource}")),
                );
            }
        }
    }
    let expected = [
        "get /pods",
        "list /pods",
        "watch /pods",
        "patch /pods/status",
        "get k8s.cni.cncf.io/network-attachment-definitions",
        "list k8s.cni.cncf.io/network-attachment-definitions",
        "watch k8s.cni.cncf.io/network-attachment-definitions",
        "create /events",
        "patch /events",
        "create events.k8s.io/events",
        "patch events.k8s.io/events",
    ];
    assert_eq!(granted, expected.map(str::to_owned).into());
    let binding = objects.one("ClusterRoleBinding");
    assert_eq!(
        binding["roleRef"]["name"],
        objects.one("ClusterRole")["metadata"]["name"]
    );
    let account = &objects.one("ServiceAccount")["metadata"];
    let subject = json!({"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]});
    assert_eq!(binding["subjects"], json!([subject]));
    assert_eq!(objects.pod_spec()["serviceAccountName"], account["name"]);
}

#[test]
fn only_the_needed_directories_of_the_node_are_mounted() {
    plexus_api::rows!("C-20");
    let objects = Objects::of_node();
    let volumes: BTreeMap<_, _> = objects.pod_spec()["volumes"]
        .as_array()
        .expect("volumes")
        .iter()
        .map(|volume| (volume["name"].as_str().expect("a name"), volume))
        .collect();
    let mounts = objects.container()["volumeMounts"]
        .as_array()
        .expect("mounts");
    let mounted: BTreeSet<_> = mounts
        .iter()
        .filter_map(|mount| mount["name"].as_str())
        .collect();
    assert_eq!(
        volumes.keys().copied().collect::<BTreeSet<_>>(),
        mounted,
        "each volume is mounted"
    );
    let host: BTreeSet<_> = volumes
        .values()
        .filter_map(|volume| volume["hostPath"]["path"].as_str())
        .collect();
    // Without /, /run and /run/netns: a copy of a network namespace's mount would keep the network
    // namespace of a deleted sandbox.
    let needed = [
        "/etc/cni/multus/net.d",
        "/etc/cni/net.d",
        "/opt/cni/bin",
        SOCKET_DIR,
        STATE_DIR,
    ];
    assert_eq!(host, needed.into());
    for mount in mounts {
        // The container must not keep mounts of the node busy.
        assert_eq!(mount.get("mountPropagation"), None, "{mount}");
        if let Some(path) =
            volumes[mount["name"].as_str().expect("a name")]["hostPath"]["path"].as_str()
        {
            assert_eq!(
                mount["mountPath"], path,
                "paths in logs are paths of the node"
            );
        }
    }
    // A kubelet in a container could not check the type.
    assert!(
        volumes
            .values()
            .all(|volume| volume["hostPath"].get("type").is_none()),
        "{volumes:?}"
    );
}

#[test]
fn the_daemon_has_the_required_privileges_and_no_cpu_limit() {
    let objects = Objects::of_node();
    let (pod, container) = (objects.pod_spec(), objects.container());
    assert_eq!(
        (&pod["hostNetwork"], &pod["hostPID"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(pod["priorityClassName"], "system-node-critical");
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
    assert_eq!(
        container["securityContext"],
        json!({"privileged": true, "readOnlyRootFilesystem": true})
    );
    assert_eq!(
        container["image"],
        concat!("localhost/plexus:", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(
        container["env"],
        json!([
            {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}},
            {
                "name": "PLEXUS_GENERATION",
                "valueFrom": {
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels['pod-template-generation']"}
                },
            },
        ])
    );
    assert!(
        container["resources"]["limits"]["memory"].is_string(),
        "a memory limit"
    );
    assert_eq!(
        container["resources"]["limits"].get("cpu"),
        None,
        "a CPU limit slows down every ADD"
    );
    let set = &objects.one("DaemonSet")["spec"];
    let labels = &set["template"]["metadata"]["labels"];
    for (key, value) in set["selector"]["matchLabels"]
        .as_object()
        .expect("a selector")
    {
        assert_eq!(&labels[key], value);
    }
}

#[test]
fn an_update_starts_the_new_daemon_before_it_stops_the_old_one() {
    let objects = Objects::of_node();
    let strategy = &objects.one("DaemonSet")["spec"]["updateStrategy"];
    assert_eq!(
        strategy,
        &json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    );
    // The old daemon keeps running until the new one has served for some time.
    assert!(objects.one("DaemonSet")["spec"]["minReadySeconds"].as_u64() >= Some(10));
    // Two pods with the same ports of the host network do not fit on a node.
    assert_eq!(objects.container().get("ports"), None);
    let grace = objects.pod_spec()["terminationGracePeriodSeconds"]
        .as_u64()
        .expect("a time");
    assert!(
        Duration::from_secs(grace) > settings(CONFIG).shutdown_grace,
        "calls in flight are finished"
    );
}

#[test]
fn plexusd_accepts_the_arguments_and_probes() {
    let objects = Objects::of_node();
    let container = objects.container();
    let parse = |command: &[&str]| {
        let words = command.iter().map(|word| word.trim_start_matches('/'));
        Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    };
    let command = [strings(&container["command"]), strings(&container["args"])].concat();
    parse(&command);
    let config = Path::new(command.last().expect("arguments"));
    let mount = container["volumeMounts"]
        .as_array()
        .expect("mounts")
        .iter()
        .find(|mount| mount["name"] == "config");
    assert_eq!(
        config.parent(),
        mount
            .and_then(|mount| mount["mountPath"].as_str())
            .map(Path::new)
    );
    assert_eq!(config.file_name(), Path::new(CONFIG).file_name());
    for (probe, state) in [
        ("startupProbe", "live"),
        ("livenessProbe", "live"),
        ("readinessProbe", "ready"),
    ] {
        let probe = &container[probe];
        let command = strings(&probe["exec"]["command"]);
        parse(&command);
        assert_eq!(command, ["/plexusd", "probe", state]);
        assert!(
            probe["timeoutSeconds"].as_u64() > Some(4),
            "longer than the timeout of plexusd, which reports the reason"
        );
        let patience = probe["periodSeconds"]
            .as_u64()
            .zip(probe["failureThreshold"].as_u64())
            .expect("numbers");
        let patience = Duration::from_secs(patience.0 * patience.1);
        assert!(
            state == "ready" || patience > plexusd::serve::LOCK_WAIT,
            "the daemon may wait for the previous one"
        );
    }
}

#[test]
fn directories_of_the_configuration_are_mounted() {
    let objects = Objects::of_node();
    let mounts = objects.container()["volumeMounts"]
        .as_array()
        .expect("mounts");
    let writable: Vec<_> = mounts
        .iter()
        .filter(|mount| mount["readOnly"] != true)
        .collect();
    let settings = settings(CONFIG);
    let publish = settings.publish.as_ref().expect("cniConfigDir").dir.clone();
    let (autoconfig, shim) = (
        settings
            .autoconfig_dir
            .clone()
            .expect("multusAutoconfigDir"),
        settings.shim_dir.clone().expect("shimDir"),
    );
    for dir in [
        publish,
        autoconfig,
        shim,
        settings.socket_dir.clone(),
        settings.state_dir.clone(),
    ] {
        assert!(
            writable
                .iter()
                .any(|mount| mount["mountPath"] == json!(dir)),
            "{} is not mounted",
            dir.display()
        );
    }
    assert!(
        mounts
            .iter()
            .any(|mount| mount["mountPath"] == json!(settings.conf_dir))
    );
    // Other paths are resolved in the runtime's mount namespace.
    let text = read(CONFIG);
    assert_eq!(
        Fields::parse(&text)
            .expect("JSON")
            .string("mountNamespace")
            .expect("text")
            .as_deref(),
        Some("caller")
    );
}

#[test]
fn monitoring_sets_the_metrics_address_and_changes_nothing_else() {
    let path = "deploy/components/monitoring/monitoring.json";
    let address = settings(path).metrics.address.expect("an address");
    assert!(
        address.ip().is_unspecified(),
        "Prometheus connects from other nodes"
    );
    let config: Value = serde_json::from_str(&read(path)).expect("JSON");
    let keys: Vec<_> = config.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["metricsAddress"]);
    let monitor = documents(&read("deploy/observability/pod-monitor.yaml")).remove(0);
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    let relabelings = endpoint["relabelings"].as_array().expect("relabelings");
    let addresses: Vec<_> = relabelings
        .iter()
        .filter(|relabeling| relabeling["targetLabel"] == "__address__")
        .collect();
    assert_eq!(addresses.len(), 2, "IPv4 and IPv6");
    for relabeling in addresses {
        let replacement = relabeling["replacement"].as_str().expect("an address");
        assert!(
            replacement.ends_with(&format!(":{}", address.port())),
            "{replacement}"
        );
    }
    assert_eq!(endpoint.get("port"), None, "the pods declare no ports");
}
