//! Wires the rooms together and waits for the end.

mod cluster;
mod crd;
mod duty;
mod ledger;
mod probe;
mod self_test;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use plexus_api::wire::{MULTUS_SOCKET_NAME, SOCKET_NAME};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::Serve;
use crate::config::{Fields, Settings, on_host, resolve_host_paths};
use crate::delegate::{Delegates, Limits};
use crate::gather::cluster::Store;
use crate::gather::primary::Primary;
use crate::host::{Hosts, memory};
use crate::ledger::Ledger;
use crate::recovery::{self, strays};
use crate::server::{Ended, Listener, MetricsListener, metrics_router, outlive, router};
use crate::telemetry::{Logs, Metrics};
use crate::verbs::Verbs;

use cluster::Source;
pub use crd::crd;
pub use duty::Duty;
pub use ledger::ledger;
pub use probe::probe;
use self_test::self_test;

/// How long a starting daemon waits for the one before it to let go of the ledger: longer than a call can last, since
/// that one finishes its calls first.
pub const LOCK_WAIT: Duration = Duration::from_mins(3);
/// Enough for a node: the work is done by plugins, not by the daemon.
const WORKERS: usize = 2;

/// `plexusd serve` and `plexusd uninstall`: until SIGTERM or SIGINT.
///
/// # Errors
/// A configuration that cannot be read, a ledger that another daemon holds, a socket that cannot be bound.
pub fn serve(args: &Serve, duty: Duty) -> anyhow::Result<()> {
    let mut file = read_file(&args.config)?;
    let notices = resolve_host_paths(&mut file, Path::new("/"));
    let settings = Settings::read(&file).with_context(|| args.config.display().to_string())?;
    let logs = Logs::start(&settings.log);
    for key in Settings::unknown_keys(&file) {
        tracing::warn!(key, file = %args.config.display(), "unknown key; it has no effect");
    }
    for notice in notices.into_iter().chain(Settings::notices(&file)) {
        tracing::warn!(file = %args.config.display(), "{notice}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let outcome = runtime.block_on(run(args, duty, &file, &settings, &logs));
    // Neither waited for nor dropped. A wait for the ledger that nobody waits for any more must not keep the process; and
    // with the calls that did not end their plugins would be killed, some of them, at any point. The next daemon waits for
    // those, as after a SIGKILL.
    std::mem::forget(runtime);
    outcome
}

async fn run(args: &Serve, duty: Duty, file: &Fields, settings: &Settings, logs: &Logs) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let store = Store::default();
    let metrics = Arc::new(Metrics::new(settings.metrics.multus));
    let source = Source::open(args, settings, &store, metrics.clone()).await?;
    // What is wrong with the arguments is said first: it is the nearer thing to mend.
    self_test(settings)?;
    let hosts = Hosts::open(&settings.mount_namespace, settings.chroot_dir.as_deref())?;
    let snapshots = source.snapshots();
    let live = source.live();
    let reporter = source.reporters();
    let mut source = tokio::spawn(source.run());
    let (primary, follower) = Primary::open(settings, &store).await.context("the default network")?;
    let mut follower = tokio::spawn(follower.run());
    let boot_id = recovery::boot_id().context("the machine's boot id")?;
    loop {
        // Callers queue at our socket from here on, and a daemon that runs hands over to us.
        let listener = Listener::bind(&settings.socket_dir, SOCKET_NAME, settings.allowed_uid, hosts.clone())?;
        let multus = multus_listener(settings, &hosts);
        let socket = listener.path().to_owned();
        let ledger = tokio::select! {
            ledger = open_ledger(settings.state_dir.clone()) => ledger?,
            () = signals.next() => return Ok(()),
        };
        let limits = Limits {
            bin_dirs: settings
                .bin_dir
                .iter()
                .map(|dir| if hosts.is_own() { dir.clone() } else { on_host(dir) })
                .collect(),
            plugin_timeout: settings.plugin_timeout,
            slots: settings.max_plugin_runs.unwrap_or_else(memory::plugin_runs),
            mark: (strays::MARK, ledger.mark().to_owned()),
        };
        let delegates = Delegates::new(limits, metrics.clone());
        tokio::select! {
            held = strays::hold(&ledger, &delegates, settings.plugin_timeout) => if let Err(error) = held {
                tracing::warn!(%error, "cannot tell whether plugins of an earlier plexusd still run");
            },
            () = signals.next() => return Ok(()),
        }
        let verbs = Verbs {
            delegates,
            hosts: hosts.clone(),
            reporter: reporter(),
            live: live.clone(),
            boot_id: boot_id.clone(),
            file: file.clone(),
            settings: settings.clone(),
            ledger,
            store: store.clone(),
            metrics: metrics.clone(),
            primary: primary.clone(),
            installed: duty.status(settings.publish.is_some()),
        };
        let verbs = Arc::new(verbs);
        // The daemon before this one has let go of the port with the ledger.
        let metrics = MetricsListener::bind(settings.metrics.address).await;
        let mut shift = Shift::begin(&verbs, listener, multus, logs.clone());
        if let Some(metrics) = metrics {
            shift.also(|stop| metrics.serve(metrics_router(verbs.clone()), stop));
        }
        shift.also(|stop| duty.fulfil(&verbs, args, stop));
        if let Some(snapshots) = snapshots.clone() {
            shift.also(|stop| async move { snapshots.keep(stop).await });
        }
        // The ledger is let go with the last of its users.
        drop(verbs);
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
            error = &mut follower => return Err(error?.into()),
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

/// The socket at which clients of Multus look for its daemon, where it is wanted and can be.
fn multus_listener(settings: &Settings, hosts: &Hosts) -> Option<Listener> {
    let dir = settings.multus_socket_dir.as_deref()?;
    Listener::bind(dir, MULTUS_SOCKET_NAME, settings.allowed_uid, hosts.clone())
        .inspect_err(|error| tracing::warn!(%error, "Plexus does not listen on multus.sock"))
        .ok()
}

/// The time during which this daemon serves and owns the ledger.
struct Shift {
    stop: CancellationToken,
    tasks: TaskTracker,
    server: JoinHandle<Ended>,
    /// The server on Multus' socket.
    multus: JoinHandle<()>,
    beside: JoinSet<()>,
}

impl Shift {
    fn begin(verbs: &Arc<Verbs>, listener: Listener, multus: Option<Listener>, logs: Logs) -> Self {
        let (stop, tasks, mut beside) = (CancellationToken::new(), TaskTracker::new(), JoinSet::new());
        beside.spawn(recovery::run(verbs.clone(), stop.clone()));
        let router = router(verbs.clone(), tasks.clone(), stop.clone(), logs);
        let multus = multus.map(|listener| listener.serve(router.clone(), stop.clone()));
        let multus = tokio::spawn(async move {
            if let Some(serve) = multus
                && serve.await == Ended::Superseded
            {
                tracing::info!("another listens on multus.sock from here on");
            }
        });
        let server = tokio::spawn(listener.serve(router, stop.clone()));
        Self { stop, tasks, server, multus, beside }
    }

    /// Does this beside serving, until the token says that it is to end.
    fn also<W: Future<Output = ()> + Send + 'static>(&mut self, work: impl FnOnce(CancellationToken) -> W) {
        self.beside.spawn(work(self.stop.clone()));
    }

    /// Lets all calls finish, and lets go of the ledger with the last.
    async fn end(mut self) {
        self.stop.cancel();
        if !self.server.is_finished() {
            let _ = (&mut self.server).await;
        }
        let _ = self.multus.await;
        self.tasks.close();
        self.tasks.wait().await;
        while self.beside.join_next().await.is_some() {}
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
