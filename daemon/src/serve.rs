//! Wires the rooms together and waits for the end.

mod mode;
mod preflight;
mod session;
mod source;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use plexus_api::wire::{MULTUS_SOCKET_NAME, SOCKET_NAME};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::Serve;
use crate::clock::boot_id;
use crate::cluster::Store;
use crate::config::{Fields, Settings, on_host, resolve_host_paths};
use crate::context::Context;
use crate::delegate::{Delegates, Limits};
use crate::gather::default_network::DefaultNetwork;
use crate::host::{Hosts, memory};
use crate::ledger::{Ledger, UnlockedLedger};
use crate::operations::Availability;
use crate::recovery::surviving_plugins;
use crate::server::{Listener, MetricsListener, Shared, metrics_router, outlive};
use crate::telemetry::{Logs, Metrics};

pub use mode::Mode;
use preflight::preflight;
use session::Session;
use source::ObjectSource;

/// How long a starting daemon waits for the one before it to let go of the ledger: longer than a call can last, since
/// that one finishes its calls first.
pub const LOCK_WAIT: Duration = Duration::from_mins(3);
/// Enough for a node: the work is done by plugins, not by the daemon.
const WORKERS: usize = 2;

/// `plexusd serve` and `plexusd uninstall`: until SIGTERM or SIGINT.
///
/// # Errors
/// A configuration that cannot be read, a ledger that another daemon holds, a socket that cannot be bound.
pub fn serve(args: &Serve, mode: Mode) -> anyhow::Result<()> {
    let mut file = Fields::default();
    for path in &args.config {
        file = file.overlaid_by(&read_file(path)?);
    }
    let files = args
        .config
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(", ");
    let notices = resolve_host_paths(&mut file, Path::new("/"));
    let settings = Settings::read(&file).with_context(|| files.clone())?;
    let logs = Logs::start(&settings.log);
    for key in Settings::unknown_keys(&file) {
        tracing::warn!(key, file = files, "unknown key; it has no effect");
    }
    for notice in notices.into_iter().chain(Settings::notices(&file)) {
        tracing::warn!(file = files, "{notice}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(run(args, mode, &file, &settings, &logs));
    // Neither waited for nor dropped. A wait for the ledger that nobody waits for any more must not keep the process; and
    // with the calls that did not end their plugins would be killed, some of them, at any point. The next daemon waits for
    // those, as after a SIGKILL.
    std::mem::forget(runtime);
    outcome
}

async fn run(
    args: &Serve,
    mode: Mode,
    file: &Fields,
    settings: &Settings,
    logs: &Logs,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let store = Store::default();
    let metrics = Arc::new(Metrics::new(settings.metrics.multus));
    let source = ObjectSource::open(args, settings, &store, metrics.clone()).await?;
    // What is wrong with the arguments is said first: it is the nearer thing to mend.
    preflight(settings)?;
    let hosts = Hosts::open(
        &settings.mount_namespace,
        settings.chroot_dir.as_deref(),
        &settings.state_dir,
    )?;
    let snapshots = source.snapshots();
    let live = source.live();
    let reporter = source.reporters();
    let taint = source
        .startup_taint(settings)
        .filter(|_| mode == Mode::Install)
        .map(Arc::new);
    let mut source = tokio::spawn(source.run());
    let (default_network, follower) = DefaultNetwork::open(settings, &store)
        .await
        .context("the default network")?;
    let mut follower = tokio::spawn(follower.run());
    let boot_id = boot_id().context("the machine's boot id")?;
    let socket = settings.socket_dir.join(SOCKET_NAME);
    loop {
        let waiting = UnlockedLedger::at(&settings.state_dir)?;
        let delegates = Delegates::new(limits(settings, &hosts, waiting.mark()), metrics.clone());
        let availability = Arc::new(Availability {
            file: file.clone(),
            default_network: default_network.clone(),
            delegates: delegates.clone(),
            store: store.clone(),
        });
        // A daemon that runs is not relieved by one that can do less, unless that is meant.
        let can_relieve = async {
            if mode == Mode::Install {
                availability.complete().await;
            }
        };
        tokio::select! {
            () = can_relieve => {}
            () = outlive(&socket) => {}
            () = signals.next() => return Ok(()),
            error = &mut source => return Err(error?),
            error = &mut follower => return Err(error?.into()),
        }
        // Callers wait here from now on, and a daemon that runs hands over to us.
        let listener = Listener::bind(
            &settings.socket_dir,
            SOCKET_NAME,
            settings.allowed_uid,
            hosts.clone(),
        )?;
        let multus = multus_listener(settings, &hosts);
        let mut session = Session::begin(listener, multus, |context, tasks, stop| Shared {
            context,
            availability,
            hosts: hosts.clone(),
            metrics: metrics.clone(),
            state_dir: settings.state_dir.clone(),
            tasks,
            stop,
            logs: logs.clone(),
        });
        let ledger = tokio::select! {
            ledger = own(waiting, &delegates, settings.plugin_timeout) => ledger.map(Some),
            ended = &mut session.server => Session::superseded(ended).map(|()| None),
            () = signals.next() => {
                session.end().await;
                return Ok(());
            }
        };
        let ledger = match ledger {
            Ok(ledger) => ledger,
            Err(error) => {
                session.end().await;
                return Err(error);
            }
        };
        if let Some(ledger) = ledger {
            let context = Arc::new(Context {
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
                default_network: default_network.clone(),
                installed: mode.status(settings.publish.is_some()),
            });
            // The daemon before this one has let go of the port with the ledger.
            let metrics = MetricsListener::bind(settings.metrics.address).await;
            session.open(&context);
            if let Some(metrics) = metrics {
                let router = metrics_router(session.shared.clone());
                session.also(|stop| metrics.serve(router, stop));
            }
            session.also(|stop| mode.fulfil(&context, args, stop));
            let watching = context.clone();
            session.also(|stop| async move { watching.watch_installation(stop).await });
            if let Some(taint) = taint.clone() {
                session.also(|stop| taint.remove(context.clone(), stop));
            }
            if let Some(snapshots) = snapshots.clone() {
                session.also(|stop| async move { snapshots.keep(stop).await });
            }
            // The ledger is let go with the last of its users.
            drop(context);
            tracing::info!(socket = %socket.display(), version = env!("CARGO_PKG_VERSION"), "plexusd serves");
            let outcome = tokio::select! {
                () = signals.next() => {
                    tracing::info!("stopping: calls in flight may finish");
                    session.end_within(settings.shutdown_grace).await;
                    return Ok(());
                }
                ended = &mut session.server => Session::superseded(ended),
                // Without its source the daemon would go on with what was; a supervisor can mend that.
                error = &mut source => return Err(error?),
                error = &mut follower => return Err(error?.into()),
            };
            if let Err(error) = outcome {
                session.end_within(settings.shutdown_grace).await;
                return Err(error);
            }
        }
        session.end().await;
        tracing::info!("another plexusd serves; this one stands by");
        tokio::select! {
            () = signals.next() => return Ok(()),
            () = outlive(&socket) => tracing::info!("the plexusd that took over has ended; this one serves again"),
        }
    }
}

/// The right to write the ledger, once the daemon before this one has let go of it and what of its plugins could do harm
/// has ended.
async fn own(
    ledger: UnlockedLedger,
    delegates: &Delegates,
    plugin_timeout: Duration,
) -> anyhow::Result<Ledger> {
    let ledger = tokio::task::spawn_blocking(move || ledger.own(LOCK_WAIT)).await??;
    if let Err(error) = surviving_plugins::hold(&ledger, delegates, plugin_timeout).await {
        tracing::warn!(%error, "cannot tell whether plugins of an earlier plexusd still run");
    }
    Ok(ledger)
}

fn limits(settings: &Settings, hosts: &Hosts, mark: &str) -> Limits {
    let dirs = settings.bin_dir.iter();
    Limits {
        bin_dirs: dirs
            .map(|dir| {
                if hosts.is_own() {
                    dir.clone()
                } else {
                    on_host(dir)
                }
            })
            .collect(),
        plugin_timeout: settings.plugin_timeout,
        slots: settings
            .max_plugin_runs
            .unwrap_or_else(memory::max_plugin_runs),
        mark: (surviving_plugins::MARK, mark.to_owned()),
    }
}

/// The socket at which clients of Multus look for its daemon, where it is wanted and can be.
fn multus_listener(settings: &Settings, hosts: &Hosts) -> Option<Listener> {
    let dir = settings.multus_socket_dir.as_deref()?;
    Listener::bind(dir, MULTUS_SOCKET_NAME, settings.allowed_uid, hosts.clone())
        .inspect_err(|error| tracing::warn!(%error, "Plexus does not listen on multus.sock"))
        .ok()
}

/// What ends the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
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
