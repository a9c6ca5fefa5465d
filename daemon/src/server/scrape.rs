//! The response to `/metrics`, with values that are read for each scrape.

use super::ledger_reading::read_ledger;
use crate::context::Context;
use crate::install::ProblemKind;

/// All metrics in Prometheus' text format, with current values of permits, caches, installation and
/// ledger.
pub(super) async fn scrape(context: &Context) -> String {
    let metrics = context.node.metrics.clone();
    let state_dir = context.node.settings.state_dir.clone();
    metrics.set_permits(context.node.delegates.permits());
    metrics.set_cache(context.node.store.reading());
    metrics.set_status_overdue(context.reporter.is_overdue());
    metrics.set_events_dropped(context.reporter.events_dropped());
    let install_status = context.install_status.get();
    for kind in ProblemKind::ALL {
        metrics.set_installation_problem(kind.name(), install_status.has(kind));
    }
    let text = tokio::task::spawn_blocking(move || {
        let reading = read_ledger(&state_dir);
        if let Err(error) = &reading {
            tracing::warn!(%error, "the ledger cannot be read, so its metrics are missing");
        }
        metrics.set_ledger(reading.ok().map(|(reading, _)| reading));
        metrics.encode()
    });
    text.await.unwrap_or_default()
}
