//! The component `hotplug`: only the configuration.

use plexus_e2e::skip;
use plexus_e2e::workspace::read;
use plexusd::config::{Fields, Settings, Switch};

use crate::objects::Objects;
use crate::rendered::{kubectl, render_with};
use crate::startup_taint::daemon_config;

const DIR: &str = "deploy/components/hotplug";

fn hotplug(config: &Fields) -> Switch {
    Settings::read(config).expect("valid values").hotplug
}

#[test]
fn the_component_turns_hotplug_on_and_nothing_else() {
    let fields = |path: &str| Fields::parse(&read(path)).expect("JSON");
    let config = fields("deploy/node/daemon-config.json");
    assert_eq!(hotplug(&config), Switch::Off);
    let component = fields(&format!("{DIR}/hotplug.json"));
    assert_eq!(Vec::from_iter(component.keys()), ["hotplug"]);
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let others = ["deploy/components/dra", "deploy/components/monitoring"];
    for resource in ["deploy", "deploy/uninstall"] {
        let without = render_with(resource, &others, None);
        for components in [[DIR, others[0], others[1]], [others[1], others[0], DIR]] {
            let objects = render_with(resource, &components, None);
            let config = daemon_config(&objects);
            assert_eq!(hotplug(&config), Switch::On);
            assert!(config.has("dra") && config.has("metricsAddress"));
            let roles = |objects: &Objects| -> Vec<_> {
                let roles = objects.all("ClusterRole").into_iter();
                roles.map(|role| role["rules"].clone()).collect()
            };
            assert_eq!(roles(&objects), roles(&without));
        }
    }
}
