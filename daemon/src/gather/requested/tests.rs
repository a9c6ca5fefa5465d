use std::pin::pin;
use std::time::Duration;

use futures_util::poll;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::cluster::Store;
use crate::config::{Fields, Settings};

const MIB: usize = 1 << 20;

#[tokio::test(start_paused = true)]
async fn a_refused_definition_takes_no_memory() {
    let store = Store::default();
    let definition = |name: &str| Definition {
        namespace: "ns".into(),
        name: name.into(),
        config: Some("x".repeat(3 * MIB)),
        ..Definition::default()
    };
    store.replace(Vec::new(), ["a", "b", "c"].map(definition).into());
    let settings = Settings::read(&Fields::parse("{}").expect("an object")).expect("settings");
    let lookup = Lookup::without_waiting(&store, &settings);
    let mut requested = Requested::default();
    for (name, accepted) in [("a", true), ("b", true), ("c", false)] {
        let selection = Selection {
            namespace: "ns".to_owned(),
            name: name.to_owned(),
            ..Selection::default()
        };
        let found = requested.find(&lookup, &selection, Some("net1")).await;
        assert_eq!(found.is_ok(), accepted, "{name}");
    }
    // Just the memory for the first two is free.
    let memory = MemoryBudget::new(14 * MIB);
    let time = Duration::from_secs(1);
    let limits = CallLimits::new("test", Instant::now(), time, CancellationToken::new());
    let other = memory.reserve(2 * MIB, &limits).await.expect("free");
    drop(requested.reserve(&memory, 0, &limits).await.expect("free"));
    // The memory for the caller is a part of the same reservation.
    let mut more = pin!(requested.reserve(&memory, 2 * MIB, &limits));
    assert!(poll!(&mut more).is_pending());
    drop(other);
    more.await.expect("free");
}
