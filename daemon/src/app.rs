//! Wires the rooms together and waits for the end.

mod ledger;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::Serve;
use crate::config::{Fields, Settings};
use crate::delegate::{Delegates, Limits};
use crate::gather::cluster::{Manifests, Store};
use crate::host::Host;
use crate::ledger::Ledger;
use crate::recovery;
use crate::report::Reporter;
use crate::server::{Listener, MetricsListener, metrics_router, router};
use crate::telemetry::{Logs, Metrics};
use crate::verbs::Verbs;

pub use ledger::ledger;

/// How long a starting daemon waits for the one before it to let go of the ledger.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// Enough for a node: the work is done by plugins, not by the daemon.
const WORKERS: usize = 2;

/// `plexusd serve`: until SIGTERM or SIGINT.
///
/// # Errors
/// A configuration that cannot be read, a ledger that another daemon holds, a socket that cannot be bound.
pub fn serve(args: &Serve) -> anyhow::Result<()> {
    let file = read_file(&args.config)?;
    let settings = Settings::read(&file).with_context(|| args.config.display().to_string())?;
    let logs = Logs::start(&settings.log);
    for key in Settings::unknown_keys(&file) {
        tracing::warn!(key, file = %args.config.display(), "unknown key; it has no effect");
    }
    for notice in Settings::notices(&file) {
        tracing::warn!(file = %args.config.display(), "{notice}");
    }
    let ledger = Ledger::open(&settings.state_dir, LOCK_WAIT)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    runtime.block_on(run(args, file, settings, ledger, logs))
}

async fn run(args: &Serve, file: Fields, settings: Settings, ledger: Ledger, logs: Logs) -> anyhow::Result<()> {
    let store = Store::default();
    let manifests = Manifests::open(&args.manifests, store.clone())?;
    let limits = Limits {
        bin_dirs: settings.bin_dir.iter().cloned().collect(),
        plugin_timeout: settings.plugin_timeout,
        slots: settings.max_plugin_runs,
    };
    let listener = Listener::bind(&settings.socket_dir, settings.allowed_uid)?;
    let grace = settings.shutdown_grace;
    let metrics = Arc::new(Metrics::new(settings.metrics.multus));
    let metrics_listener = MetricsListener::bind(settings.metrics.address).await;
    let verbs = Arc::new(Verbs {
        delegates: Delegates::new(Host::start(tokio::runtime::Handle::current())?, limits, metrics.clone()),
        reporter: Reporter::new(args.manifests.clone()),
        boot_id: recovery::boot_id().context("the machine's boot id")?,
        file,
        settings,
        ledger,
        store,
        metrics,
    });

    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tracing::info!(socket = %listener.path().display(), version = env!("CARGO_PKG_VERSION"), "plexusd serves");
    let mut manifests = tokio::spawn(manifests.run());
    let recovery = tokio::spawn(recovery::run(verbs.clone(), stop.clone()));
    if let Some(listener) = metrics_listener {
        tokio::spawn(listener.serve(metrics_router(verbs.clone()), stop.clone()));
    }
    let server = tokio::spawn(listener.serve(router(verbs, tasks.clone(), logs), stop.clone()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // Without its source the daemon would go on with what was; a supervisor can mend that.
        error = &mut manifests => return Err(error?.into()),
    }
    tracing::info!("stopping: calls in flight may finish");
    stop.cancel();
    tasks.close();
    let finished = tokio::time::timeout(grace, async {
        tasks.wait().await;
        // The answers, and an undo that recovery has begun.
        let _ = tokio::join!(server, recovery);
    });
    if finished.await.is_err() {
        tracing::warn!("stopping with calls in flight; what they attached is undone at the next start");
    }
    Ok(())
}

fn read_file(path: &Path) -> anyhow::Result<Fields> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Fields::parse(&text).with_context(|| path.display().to_string())
}
