//! The values of the chart: their effect, their schema, and the notes.

use plexus_e2e::workspace::read;
use serde_json::{Value, json};

use super::template::Chart;
use super::{DIR, chart, keys, schema};
use crate::objects::root;
use crate::startup_taint::daemon_config;

#[test]
fn the_configuration_of_a_user_takes_precedence() {
    let values = json!({
        "distribution": "k0s", "monitoring": {"enabled": true}, "startupTaint": {"enabled": true},
        "config": {
            "metricsAddress": "[::1]:1", "startupTaint": "example.com/wait", "kubeletDir": "/data",
            "maxPluginRuns": null,
        },
        "cni": {"confDir": "/conf", "binDir": "/bin"},
    });
    let objects = chart("kube-system", &values);
    let config = keys(&daemon_config(&objects));
    assert_eq!(config["metricsaddress"], r#""[::1]:1""#);
    assert_eq!(config["startuptaint"], r#""example.com/wait""#);
    assert_eq!(config["kubeletdir"], r#""/data""#);
    assert_eq!(config.get("maxpluginruns"), None, "null removes a key");
    assert_eq!(objects.host_path("cni-config"), "/conf");
    assert_eq!(objects.host_path("cni-bin"), "/bin");
}

#[test]
fn values_of_the_pod_are_in_the_daemon_set() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let values = json!({
        "image": {"repository": "example.com/plexus", "digest": digest, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "cniPlugins": {"enabled": true, "image": {"repository": "example.com/plugins", "tag": "7"}},
        "resources": {"limits": {"memory": "2Gi"}},
        "priorityClassName": "high",
        "nodeSelector": {"pool": "a"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "monitoring": {
            "enabled": true, "labels": {"release": "prometheus"},
            "runbookUrl": "https://example.com/plexus",
        },
    });
    let objects = chart("kube-system", &values);
    let (pod, container) = (objects.pod_spec(), objects.container());
    assert_eq!(container["image"], format!("example.com/plexus@{digest}"));
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(pod["initContainers"][0]["image"], "example.com/plugins:7");
    assert_eq!(container["resources"]["limits"]["memory"], "2Gi");
    assert_eq!(container["resources"]["requests"]["memory"], "64Mi", "kept");
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["priorityClassName"], "high");
    assert_eq!(
        pod["nodeSelector"],
        json!({"kubernetes.io/os": "linux", "pool": "a"})
    );
    assert_eq!(
        pod["tolerations"],
        json!([{"key": "a", "operator": "Exists"}])
    );
    for kind in ["PodMonitor", "PrometheusRule"] {
        let labels = &objects.one(kind)["metadata"]["labels"];
        assert_eq!(labels["release"], "prometheus");
        assert_eq!(labels["app.kubernetes.io/name"], "plexus");
    }
    let rule = &objects.one("PrometheusRule")["spec"]["groups"][0]["rules"][0];
    assert_eq!(
        rule["annotations"]["runbook_url"],
        "https://example.com/plexus/alerts.md#plexusdown"
    );
}

#[test]
fn a_changed_configuration_changes_the_pod_template_and_the_selector_never_changes() {
    let template = |values: Value| {
        let set = chart("kube-system", &values).one("DaemonSet").clone();
        let selector = json!({"matchLabels": {"app.kubernetes.io/name": "plexus"}});
        assert_eq!(set["spec"]["selector"], selector);
        set["spec"]["template"].clone()
    };
    let usual = template(json!({}));
    assert_eq!(template(json!({"monitoring": {"enabled": false}})), usual);
    assert_ne!(template(json!({"config": {"logLevel": "debug"}})), usual);
    assert_ne!(template(json!({"dra": {"enabled": true}})), usual);
}

#[test]
fn the_notes_warn_of_an_uninstall_that_breaks_nodes() {
    let notes = |values: Value| {
        let dir = root(DIR);
        let chart = Chart {
            dir: &dir,
            release: "net",
            namespace: "networks",
        };
        let rendered = chart.render(&values).expect("templates");
        let notes = rendered.into_iter().find(|(name, _)| name == "NOTES.txt");
        notes.expect("notes").1
    };
    let installed = notes(json!({}));
    let upgrade = "helm upgrade net CHART --namespace networks --reuse-values --set uninstall=true";
    assert!(installed.contains(upgrade), "{installed}");
    let status = "kubectl --namespace networks rollout status daemonset/plexus";
    assert!(installed.contains(status), "{installed}");
    let uninstalled = notes(json!({"uninstall": true}));
    assert!(
        uninstalled.contains("helm uninstall net --namespace networks"),
        "{uninstalled}"
    );
}

#[test]
fn the_schema_covers_each_value_and_refuses_others() {
    let schema = serde_json::from_str(&read(&format!("{DIR}/values.schema.json"))).expect("JSON");
    let dir = root(DIR);
    let chart = Chart {
        dir: &dir,
        release: "plexus",
        namespace: "kube-system",
    };
    let problems = |values: Value| schema::problems(&schema, &chart.values(&values), "");
    assert_eq!(problems(json!({})), Vec::<String>::new());
    let properties = schema["properties"].as_object().expect("properties").keys();
    let defaults = chart.values(&json!({}));
    let described: Vec<_> = properties.filter(|key| *key != "global").collect();
    assert_eq!(
        described,
        defaults
            .as_object()
            .expect("an object")
            .keys()
            .collect::<Vec<_>>()
    );
    for (values, at) in [
        (json!({"distribution": "k4s"}), "/distribution"),
        (json!({"monitorin": {}}), "/monitorin"),
        (
            json!({"monitoring": {"enable": true}}),
            "/monitoring/enable",
        ),
        (json!({"dra": {"enabled": "yes"}}), "/dra/enabled"),
        (json!({"cni": {"confDir": "relative"}}), "/cni/confDir"),
        (
            json!({"imagePullSecrets": ["registry"]}),
            "/imagePullSecrets/0",
        ),
        (json!({"image": {"repository": null}}), "/image"),
        // Kubernetes would ignore the misspelt key, so that there is no limit.
        (
            json!({"resources": {"limit": {"memory": "1Gi"}}}),
            "/resources/limit",
        ),
        (
            json!({"tolerations": [{"operator": "exists"}]}),
            "/tolerations/0/operator",
        ),
    ] {
        let problems = problems(values.clone());
        assert!(
            problems.iter().any(|problem| problem.starts_with(at)),
            "{values}: {problems:?}"
        );
    }
}
