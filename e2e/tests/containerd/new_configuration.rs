//! The published configuration changes while pods start and stop.

use std::fs;
use std::thread;

use plexus_e2e::plexus::{DEFAULT_NETWORK_FILE, NET_D};
use plexus_e2e::{NodeWatch, Pod, real_networks};
use serde_json::json;

use crate::fixture::NETWORKS;
use crate::start;

/// How often the configuration changes.
const CHANGES: usize = 10;
/// How many pods each thread starts and stops.
const PODS: usize = 5;

#[test]
fn pods_start_and_stop_while_the_configuration_is_rewritten() {
    plexus_api::rows!("C-06");
    let node;
    let plexus = start!(node, json!({}));
    thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let plexus = &plexus;
            scope.spawn(move || {
                for _ in 0..PODS {
                    let id = plexus.run_pod(&Pod::new(name).with_networks(NETWORKS));
                    plexus.remove_pod(&id);
                }
            });
        }
        for number in 0..CHANGES {
            let has_ports = number % 2 == 0;
            let mut default = real_networks::config(real_networks::DEFAULT);
            default["plugins"][0]["capabilities"] = json!({"portMappings": has_ports});
            let watch = NodeWatch::new(&node, &[NET_D]);
            // A rename: plexusd must not read half a file.
            let new = node.write_json("new.json", &default);
            fs::rename(new, node.scratch().join(DEFAULT_NETWORK_FILE)).expect("rename the file");
            let declared = || {
                let published = plexus.published().expect("a configuration");
                published["plugins"][0]["capabilities"]["portMappings"] == true
            };
            watch.wait_while(|| (declared() != has_ports).then_some(has_ports));
        }
    });
    assert!(plexus.cri.network_ready().expect("a condition").status);
    plexus.wait_nothing_left();
}
