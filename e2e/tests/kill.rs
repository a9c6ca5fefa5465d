//! plexusd is killed at any instant of an ADD or a DEL, and other things happen to it. After its restart nothing is left
//! of the pod, and the pods beside it are untouched, whichever runtime is there. A short run; `make soak` is a long one.

use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::sequences::{PLUGINS, Sequences};
use plexus_e2e::{NodeError, or_skip, skip};

#[test]
fn nothing_leaks_and_nothing_living_is_hurt() {
    plexus_api::rows!("R-067", "R-085");
    let plugins = or_skip!(plugin_dir(&PLUGINS));
    let outcome = match (Sequences {
        plugins,
        first: 1,
        count: 20,
    }
    .play())
    {
        Ok(outcome) => outcome,
        Err(NodeError::Unable(reason)) => skip!("{reason}"),
        Err(NodeError::Failed(error)) => panic!("cannot make a node: {error}"),
    };
    assert!(
        outcome.failed.is_empty(),
        "see `make soak SEED={} COUNT=1`",
        outcome.failed[0]
    );
    assert_eq!(outcome.played, 20);
    assert!(outcome.kills >= 20, "{outcome:?}");
}
