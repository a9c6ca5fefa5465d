//! The pods of this node and the definitions.

use std::time::Duration;

use tokio::time::Instant;

use super::facts::Facts;
use super::finding::{Finding, Outcome};

/// How long the source may take to list the objects.
const LIST_LIMIT: Duration = Duration::from_secs(15);

/// The pods and the definitions can be read. While the API server is unavailable, the definitions
/// come from the snapshot, as for the daemon.
pub(super) async fn check(facts: &mut Facts) -> Outcome {
    let Some(source) = facts.source.take() else {
        return Outcome::NotApplicable("their source cannot be opened");
    };
    let store = &facts.store;
    tokio::spawn(source.run());
    if store.wait_synced(Instant::now() + LIST_LIMIT).await {
        return Vec::new().into();
    }
    let text = format!("are not known within {LIST_LIMIT:?}");
    let text = match store.failure() {
        Some(failure) => format!("{text}: {failure}"),
        None => text,
    };
    Some(Finding::failed("pods and definitions", text)).into()
}
