//! Rolling updates of plexusd while pods come and go and the runtime asks for STATUS all the time: no STATUS fails, no
//! pod fails that a retry would not heal, and nothing is left.
//!
//! `PLEXUS_ROLLOUTS` has how many, `PLEXUS_SEED` which.

mod pods;
mod rollout;
mod world;

use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::sequences::PLUGINS;
use plexus_e2e::{Cluster, node, skip};

use world::World;

#[test]
fn no_pod_fails_for_good_and_nothing_is_left() {
    plexus_api::rows!("P-105", "R-067");
    let plugins = match plugin_dir(&PLUGINS) {
        Ok(dir) => dir,
        Err(reason) => skip!("{reason}"),
    };
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
    World::new(&node, &cluster, &plugins, seed).play(count);
}
