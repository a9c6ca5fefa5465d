//! Rolling updates of plexusd while pods start and stop and the runtime calls STATUS all the time.
//! STATUS never fails, a failed pod succeeds after a retry, and nothing is left behind.
//!
//! `PLEXUS_ROLLOUTS` sets the number of updates, `PLEXUS_SEED` the seed.

mod phase;
mod pods;
mod rollouts;
mod workload;

use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::real_networks::PLUGINS;
use plexus_e2e::{Cluster, node, or_skip};

#[test]
fn no_pod_fails_permanently_and_nothing_is_left() {
    plexus_api::rows!("P-105", "R-067");
    let plugins = or_skip!(plugin_dir(&PLUGINS));
    let (node, cluster) = (node!(), Cluster::new());
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
    };
    let (count, seed) = (
        number("PLEXUS_ROLLOUTS").unwrap_or(20),
        number("PLEXUS_SEED").unwrap_or(1),
    );
    rollouts::run(&node, &cluster, &plugins, seed, count);
}
