//! Wires the rooms together and waits for the end.

mod cluster;
mod ledger;
mod self_test;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::Serve;
use crate::config::{Fields, Settings};
use crate::delegate::{Delegates, Limits};
use crate::gather::cluster::{Snapshots, Store};
use crate::host::Hosts;
use crate::ledger::Ledger;
use crate::recovery::{self, strays};
use crate::server::{Ended, Listener, MetricsListener, metrics_router, outlive, router};
use crate::telemetry::{Logs, Metrics};
use crate::verbs::Verbs;

use cluster::Source;
pub use ledger::ledger;
use self_test::self_test;

/// How long a starting daemon waits for the one before it to let go of the ledger: longer than a call can last, since
/// that one finishes its calls first.
const LOCK_WAIT: Duration = Duration::from_mins(3);
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
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let outcome = runtime.block_on(run(args, &file, &settings, &logs));
    // A wait for the ledger that nobody waits for any more must not keep the process.
    runtime.shutdown_background();
    outcome
}

async fn run(args: &Serve, file: &Fields, settings: &Settings, logs: &Logs) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    self_test(settings)?;
    let hosts = Hosts::open(&settings.mount_namespace, settings.chroot_dir.as_deref())?;
    let store = Store::default();
    let metrics = Arc::new(Metrics::new(settings.metrics.multus));
    let source = Source::open(args, settings, &store, metrics.clone()).await?;
    let snapshots = source.snapshots();
    let live = source.live();
    let reporter = source.reporters();
    let mut source = tokio::spawn(source.run());
    let boot_id = recovery::boot_id().context("the machine's boot id")?;
    loop {
        // Callers queue at our socket from here on, and a daemon that runs hands over to us.
        let listener = Listener::bind(&settings.socket_dir, settings.allowed_uid, hosts.clone())?;
        let socket = listener.path().to_owned();
        let ledger = tokio::select! {
            ledger = open_ledger(settings.state_dir.clone()) => ledger?,
            () = signals.next() => return Ok(()),
        };
        if let Err(error) = strays::hold(&ledger, settings.plugin_timeout).await {
            tracing::warn!(%error, "cannot tell whether plugins of an earlier plexusd still run");
        }
        let limits = Limits {
            bin_dirs: settings.bin_dir.iter().cloned().collect(),
            plugin_timeout: settings.plugin_timeout,
            slots: settings.max_plugin_runs,
            mark: (strays::MARK, ledger.mark().to_owned()),
        };
        let verbs = Verbs {
            delegates: Delegates::new(limits, metrics.clone()),
            hosts: hosts.clone(),
            reporter: reporter(),
            live: live.clone(),
            boot_id: boot_id.clone(),
            file: file.clone(),
            settings: settings.clone(),
            ledger,
            store: store.clone(),
            metrics: metrics.clone(),
        };
        let mut shift = Shift::begin(verbs, listener, logs.clone(), snapshots.clone()).await;
        tracing::info!(socket = %socket.display(), version = env!("CARGO_PKG_VERSION"), "plexusd serves");
        tokio::select! {
            () = signals.next() => {
                tracing::info!("stopping: calls in flight may finish");
                if tokio::time::timeout(settings.shutdown_grace, shift.end()).await.is_err() {
                    tracing::warn!("stopped with calls in flight; what they attached is undone at the next start");
                }
                return Ok(());
            }
            _ = &mut shift.server => tracing::info!("another plexusd takes over: calls in flight finish here"),
            // Without its source the daemon would go on with what was; a supervisor can mend that.
            error = &mut source => return Err(error?),
        }
        shift.end().await;
        tracing::info!("another plexusd serves; this one stands by");
        tokio::select! {
            () = signals.next() => return Ok(()),
            () = outlive(&socket) => tracing::info!("the plexusd that took over has ended; this one serves again"),
        }
    }
}

async fn open_ledger(state_dir: PathBuf) -> anyhow::Result<Ledger> {
    Ok(tokio::task::spawn_blocking(move || Ledger::open(&state_dir, LOCK_WAIT)).await??)
}

/// The time during which this daemon serves and owns the ledger.
struct Shift {
    stop: CancellationToken,
    tasks: TaskTracker,
    server: JoinHandle<Ended>,
    recovery: JoinHandle<()>,
    metrics: JoinHandle<()>,
    snapshots: JoinHandle<()>,
}

impl Shift {
    async fn begin(verbs: Verbs, listener: Listener, logs: Logs, snapshots: Option<Snapshots>) -> Self {
        let (verbs, stop, tasks) = (Arc::new(verbs), CancellationToken::new(), TaskTracker::new());
        // The daemon before this one has let go of the port with the ledger.
        let metrics = MetricsListener::bind(verbs.settings.metrics.address).await;
        let metrics = metrics.map(|listener| listener.serve(metrics_router(verbs.clone()), stop.clone()));
        let metrics = tokio::spawn(async move {
            if let Some(serve) = metrics {
                serve.await;
            }
        });
        let recovery = tokio::spawn(recovery::run(verbs.clone(), stop.clone()));
        let router = router(verbs, tasks.clone(), stop.clone(), logs);
        let server = tokio::spawn(listener.serve(router, stop.clone()));
        let until = stop.clone();
        let snapshots = tokio::spawn(async move {
            if let Some(snapshots) = snapshots {
                snapshots.keep(until).await;
            }
        });
        Self { stop, tasks, server, recovery, metrics, snapshots }
    }

    /// Lets all calls finish, and lets go of the ledger with the last.
    async fn end(mut self) {
        self.stop.cancel();
        if !self.server.is_finished() {
            let _ = (&mut self.server).await;
        }
        self.tasks.close();
        self.tasks.wait().await;
        let _ = tokio::join!(self.recovery, self.metrics, self.snapshots);
    }
}

/// What ends the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn read_file(path: &Path) -> anyhow::Result<Fields> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Fields::parse(&text).with_context(|| path.display().to_string())
}
