//! Wires the rooms together and waits for the end.

mod cluster;
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
use crate::gather::cluster::Store;
use crate::host::Host;
use crate::ledger::Ledger;
use crate::recovery;
use crate::server::{Listener, router};
use crate::telemetry;
use crate::verbs::Verbs;

use cluster::Source;
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
    telemetry::init(settings.log_level.as_deref());
    for key in Settings::unknown_keys(&file) {
        tracing::warn!(key, file = %args.config.display(), "unknown key; it has no effect");
    }
    let ledger = Ledger::open(&settings.state_dir, LOCK_WAIT)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    runtime.block_on(run(args, file, settings, ledger))
}

async fn run(args: &Serve, file: Fields, settings: Settings, ledger: Ledger) -> anyhow::Result<()> {
    let store = Store::default();
    let source = Source::open(args, &settings, &store).await?;
    let limits = Limits {
        bin_dirs: settings.bin_dir.iter().cloned().collect(),
        plugin_timeout: settings.plugin_timeout,
        slots: settings.max_plugin_runs,
    };
    let listener = Listener::bind(&settings.socket_dir, settings.allowed_uid)?;
    let grace = settings.shutdown_grace;
    let verbs = Arc::new(Verbs {
        delegates: Delegates::new(Host::start(tokio::runtime::Handle::current())?, limits),
        reporter: source.reporter(),
        live: source.live(),
        boot_id: recovery::boot_id().context("the machine's boot id")?,
        file,
        settings,
        ledger,
        store,
    });

    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tracing::info!(socket = %listener.path().display(), version = env!("CARGO_PKG_VERSION"), "plexusd serves");
    let mut source = tokio::spawn(source.run());
    let recovery = tokio::spawn(recovery::run(verbs.clone(), stop.clone()));
    let server = tokio::spawn(listener.serve(router(verbs, tasks.clone()), stop.clone()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // Without its source the daemon would go on with what was; a supervisor can mend that.
        error = &mut source => return Err(error?),
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
