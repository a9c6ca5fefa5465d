//! The objects as they are written; what needs no kustomize.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use clap::Parser as _;
use plexus_api::wire::{SOCKET_DIR, STATE_DIR};
use plexus_e2e::binaries::binary;
use plexusd::cli::Cli;
use plexusd::config::{Fields, Settings};
use serde_json::{Value, json};

use crate::objects::{Objects, check_schema, documents, read, root};

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
    let fields = Fields::parse(&read(path)).expect("the configuration is JSON");
    assert_eq!(
        Settings::unknown_keys(&fields),
        Vec::<&str>::new(),
        "{path}"
    );
    Settings::read(&fields).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn objects_have_no_key_that_their_kind_does_not_know() {
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
fn the_definitions_kind_is_the_specifications() {
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
    // The specification's, and the one that Multus adds.
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
    assert_eq!(
        required,
        [None, None],
        "a definition may lack spec, and spec its config"
    );
}

#[test]
fn plexusd_prints_the_definitions_kind_that_is_applied() {
    plexus_api::rows!("K-001");
    let output = Command::new(binary("plexusd"))
        .arg("crd")
        .output()
        .expect("plexusd can be executed");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), read(CRD));
}

#[test]
fn plexusd_may_do_what_it_does_and_nothing_else() {
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
    let wanted = [
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
    assert_eq!(granted, wanted.map(str::to_owned).into());
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
fn the_nodes_directories_are_mounted_that_are_needed() {
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
        "volumes and mounts belong together"
    );
    let host: BTreeSet<_> = volumes
        .values()
        .filter_map(|volume| volume["hostPath"]["path"].as_str())
        .collect();
    // Not /, /run or /run/netns: a copy of a namespace's mount would keep dead sandboxes.
    let needed = [
        "/etc/cni/multus/net.d",
        "/etc/cni/net.d",
        "/opt/cni/bin",
        SOCKET_DIR,
        STATE_DIR,
    ];
    assert_eq!(host, needed.into());
    for mount in mounts {
        // A mount of the node that appears below is none of ours to hold.
        assert_eq!(mount.get("mountPropagation"), None, "{mount}");
        if let Some(path) =
            volumes[mount["name"].as_str().expect("a name")]["hostPath"]["path"].as_str()
        {
            assert_eq!(
                mount["mountPath"], path,
                "what a log says is true on the node"
            );
        }
    }
    // Where kubelet runs in a container it would not find them.
    assert!(
        volumes
            .values()
            .all(|volume| volume["hostPath"].get("type").is_none()),
        "{volumes:?}"
    );
}

#[test]
fn the_daemon_runs_as_it_must() {
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
        json!([{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}])
    );
    assert!(
        container["resources"]["limits"]["memory"].is_string(),
        "a limit"
    );
    assert_eq!(
        container["resources"]["limits"].get("cpu"),
        None,
        "a limit of the CPU makes every ADD slower"
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
fn an_update_starts_the_new_daemon_beside_the_old_one() {
    let objects = Objects::of_node();
    let strategy = &objects.one("DaemonSet")["spec"]["updateStrategy"];
    assert_eq!(
        strategy,
        &json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    );
    // A new one that dies when it has just taken over leaves the old one to serve again.
    assert!(objects.one("DaemonSet")["spec"]["minReadySeconds"].as_u64() >= Some(10));
    // With the host's network a second pod that has them does not fit on the node.
    assert_eq!(objects.container().get("ports"), None);
    let grace = objects.pod_spec()["terminationGracePeriodSeconds"]
        .as_u64()
        .expect("a time");
    assert!(
        Duration::from_secs(grace) > settings(CONFIG).shutdown_grace,
        "calls may finish"
    );
}

#[test]
fn probes_and_arguments_are_those_of_plexusd() {
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
    for (probe, asked) in [
        ("startupProbe", "live"),
        ("livenessProbe", "live"),
        ("readinessProbe", "ready"),
    ] {
        let probe = &container[probe];
        let command = strings(&probe["exec"]["command"]);
        parse(&command);
        assert_eq!(command, ["/plexusd", "probe", asked]);
        assert!(
            probe["timeoutSeconds"].as_u64() > Some(4),
            "more than plexusd gives itself, so that it tells why"
        );
        let patience = probe["periodSeconds"]
            .as_u64()
            .zip(probe["failureThreshold"].as_u64())
            .expect("numbers");
        let patience = Duration::from_secs(patience.0 * patience.1);
        assert!(
            asked == "ready" || patience > plexusd::serve::LOCK_WAIT,
            "it may wait for the daemon before it"
        );
    }
}

#[test]
fn the_configuration_names_directories_that_are_mounted() {
    let objects = Objects::of_node();
    let mounts = objects.container()["volumeMounts"]
        .as_array()
        .expect("mounts");
    let writable: Vec<_> = mounts
        .iter()
        .filter(|mount| mount["readOnly"] != true)
        .collect();
    let read = settings(CONFIG);
    let publish = read.publish.as_ref().expect("it publishes").dir.clone();
    let (autoconfig, shim) = (
        read.autoconfig_dir.clone().expect("a primary"),
        read.shim_dir.clone().expect("a shim"),
    );
    for dir in [
        publish,
        autoconfig,
        shim,
        read.socket_dir.clone(),
        read.state_dir.clone(),
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
            .any(|mount| mount["mountPath"] == json!(read.conf_dir))
    );
    // Paths of the runtime's mount namespace need no mount.
    let text = crate::objects::read(CONFIG);
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
fn monitoring_opens_a_port_and_changes_nothing_else() {
    let path = "deploy/components/monitoring/daemon-config.json";
    let address = settings(path).metrics.address.expect("an address");
    assert!(address.ip().is_unspecified(), "Prometheus is elsewhere");
    let [mut with, without]: [Value; 2] =
        [path, CONFIG].map(|path| serde_json::from_str(&read(path)).expect("JSON"));
    with.as_object_mut()
        .expect("an object")
        .remove("metricsAddress");
    assert_eq!(with, without);
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
    assert_eq!(endpoint.get("port"), None, "the pods have none");
}

/// Components that patch: each volume that they name is one of the DaemonSet.
#[test]
fn distributions_move_directories_that_are_mounted() {
    let node = Objects::of_node();
    let mut seen = 0;
    for entry in std::fs::read_dir(root("deploy/components"))
        .expect("components")
        .flatten()
    {
        let name = entry.file_name().into_string().expect("text");
        let kustomization = documents(&read(&format!(
            "deploy/components/{name}/kustomization.yaml"
        )))
        .remove(0);
        assert_eq!(kustomization["kind"], "Component", "{name}");
        for patch in kustomization["patches"].as_array().into_iter().flatten() {
            let target = &patch["target"];
            let kind = target["kind"].as_str().expect("a kind");
            assert!(!node.all(kind).is_empty(), "{name}: there is no {kind}");
            let label = target["labelSelector"]
                .as_str()
                .and_then(|label| label.split_once('='))
                .expect("a label");
            assert_eq!(label, ("app.kubernetes.io/name", "plexus"), "{name}");
            let patch = documents(patch["patch"].as_str().expect("a patch")).remove(0);
            let volumes = patch["spec"]["template"]["spec"]["volumes"].as_array();
            for volume in volumes.into_iter().flatten() {
                node.host_path(volume["name"].as_str().expect("a name"));
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 12, "six distributions with two directories");
}
