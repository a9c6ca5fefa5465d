//! plexusd is killed at random points of ADD and DEL. After its restart nothing of the pod is left
//! and other pods are not damaged, under both runtimes. `make soak` runs more sequences.

use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::real_networks::PLUGINS;
use plexus_e2e::sequences::Sequences;
use plexus_e2e::{NodeError, or_skip, skip};

#[test]
fn nothing_is_left_and_no_running_pod_is_damaged() {
    plexus_api::rows!("R-067", "R-085");
    let sequences = Sequences {
        plugins: or_skip!(plugin_dir(&PLUGINS)),
        first: 1,
        count: 20,
    };
    let outcome = match sequences.run() {
        Ok(outcome) => outcome,
        Err(NodeError::Unavailable(reason)) => skip!("{reason}"),
        Err(NodeError::Failed(error)) => panic!("cannot make a node: {error}"),
    };
    assert!(
        outcome.failed.is_empty(),
        "repeat with `make soak SEED={} COUNT=1`",
        outcome.failed[0]
    );
    assert_eq!(outcome.sequences, 20);
    assert!(outcome.kills >= 20, "{outcome:?}");
}
