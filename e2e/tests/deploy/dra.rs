//! The component `dra`: its rights and the configuration.

use plexus_api::rows;
use plexus_e2e::skip;
use plexus_e2e::workspace::read;
use plexusd::config::{Fields, Settings, Switch};
use serde_json::json;

use crate::objects::{Objects, check_schema, documents};
use crate::rendered::{kubectl, render_with};
use crate::startup_taint::daemon_config;

const DIR: &str = "deploy/components/dra";

fn dra(config: &Fields) -> Switch {
    Settings::read(config).expect("valid values").dra
}

#[test]
fn the_component_grants_get_of_claims_and_watches_of_slices() {
    rows!("D-069");
    let objects = Objects(documents(&read(&format!("{DIR}/access.yaml"))));
    objects.0.iter().for_each(check_schema);
    let rules = json!([
        {"apiGroups": ["resource.k8s.io"], "resources": ["resourceclaims"], "verbs": ["get"]},
        {"apiGroups": ["resource.k8s.io"], "resources": ["resourceslices"], "verbs": ["list", "watch"]},
    ]);
    assert_eq!(objects.one("ClusterRole")["rules"], rules);
    let (binding, usual) = (objects.one("ClusterRoleBinding"), Objects::of_node());
    assert_eq!(
        binding["roleRef"]["name"],
        objects.one("ClusterRole")["metadata"]["name"]
    );
    assert_eq!(
        binding["subjects"],
        usual.one("ClusterRoleBinding")["subjects"]
    );
    let usual = usual.one("ClusterRole")["rules"].to_string();
    assert!(!usual.contains("resource.k8s.io"), "{usual}");
}

#[test]
fn the_component_turns_dra_on_and_nothing_else() {
    rows!("D-069");
    let fields = |path: &str| Fields::parse(&read(path)).expect("JSON");
    let config = fields("deploy/node/daemon-config.json");
    assert_eq!(dra(&config), Switch::Off);
    let component = fields(&format!("{DIR}/dra.json"));
    assert_eq!(Vec::from_iter(component.keys()), ["dra"]);
    let together = component.overlaid_by(&config);
    assert_eq!(dra(&together), Switch::On);
}

#[test]
fn the_component_is_rendered_with_others() {
    rows!("D-069");
    if !kubectl() {
        skip!("kubectl is missing");
    }
    for resource in ["deploy", "deploy/uninstall"] {
        let monitoring = "deploy/components/monitoring";
        for components in [[DIR, monitoring], [monitoring, DIR]] {
            let objects = render_with(resource, &components, None);
            let config = daemon_config(&objects);
            assert_eq!(dra(&config), Switch::On);
            assert!(config.has("metricsAddress"));
            let subject =
                json!({"kind": "ServiceAccount", "name": "plexus", "namespace": "networks"});
            let binding = objects.named("ClusterRoleBinding", "plexus-dra");
            assert_eq!(binding["subjects"], json!([subject]));
        }
        let without = render_with(resource, &[monitoring], None);
        let roles = without.all("ClusterRole");
        assert!(
            roles
                .iter()
                .all(|role| !role["rules"].to_string().contains("resource.k8s.io")),
            "{roles:?}"
        );
    }
}
