//! The life cycle of a daemon that may share the node with other daemons, as a state machine.
//!
//! ```text
//!            able to serve, or
//!            no other daemon           ledger locked
//! ┌─────────┐         ┌─────────────┐         ┌─────────┐
//! │ Waiting │────────▶│    Bound    │────────▶│  Owner  │
//! └─────────┘         └─────────────┘         └─────────┘
//!      ▲                     │                     │
//!      │ no other            │ another daemon      │ another daemon
//!      │ daemon              │ took the socket     │ took the socket
//!      │                     ▼                     │
//! ┌────────────┐  drained ┌──────────┐             │
//! │ StandingBy │◀─────────│ Draining │◀────────────┘
//! └────────────┘          └──────────┘
//! ```
//!
//! A signal ends the daemon in each state, by way of `Draining` if calls have been accepted. If the
//! feed of pods and definitions or of the default network fails, the daemon exits at once, for a
//! supervisor to restart it.
//!
//! - `Waiting`: another daemon may serve. This one binds the socket only when it can serve ADD. It
//!   leaves the socket to a daemon of a newer generation, and to a daemon that uninstalls Plexus
//!   since this one was started.
//! - `Bound`: callers reach this daemon. STATUS is served; all other calls wait for the ledger,
//!   which the previous daemon releases after its last call.
//! - `Owner`: all calls are served, leftovers are cleaned up, the shim and the runtime's
//!   configuration are kept in place.
//! - `Draining`: no calls are accepted. The ledger is released after the last call.
//! - `StandingBy`: another daemon serves. When that daemon ends, this one starts over. If an
//!   uninstall has begun meanwhile, it continues the uninstall instead of installing Plexus again
//!   ([`Duty`], decision 40).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::components::{Components, Feeds};
use super::mode::{Duty, Mode};
use super::session::Session;
use crate::context::{Context, NodeContext};
use crate::install::UninstallMarker;
use crate::ledger::{Ledger, UnlockedLedger};
use crate::operations::wait_until_able_to_add;
use crate::readiness::emit_node_events;
use crate::recovery::surviving_plugins;
use crate::server::{
    AppState, ListenerExit, MetricsListener, other_generation, probe_router, wait_until_no_daemon,
};

/// How long a daemon waits for the ledger of the previous daemon, which finishes its calls first.
/// Longer than any call can take.
pub const LOCK_WAIT: Duration = Duration::from_mins(3);

/// The state machine.
pub(super) struct Takeover {
    components: Components,
    feeds: Feeds,
    signals: Signals,
    marker: UninstallMarker,
    seniority: Seniority,
}

/// When this process was started, compared with other daemons and with an uninstall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Seniority {
    /// How often the DaemonSet of this process had been changed when the pod was created. `None`
    /// outside a DaemonSet.
    generation: Option<u64>,
    /// Whether an uninstall had begun before this process was started.
    saw_uninstall: bool,
    /// Whether this process has left the node to another daemon.
    has_yielded: bool,
}

impl Seniority {
    /// Whether this process was started after the uninstall that the marker shows.
    fn is_newer_than_uninstall(self) -> bool {
        self.saw_uninstall && !self.has_yielded
    }

    /// Whether the daemon that listens on the socket keeps the node. `other` is its generation.
    /// `is_uninstalling` is whether the marker of an uninstall exists.
    fn yields_to(self, mode: Mode, other: Option<u64>, is_uninstalling: bool) -> bool {
        let is_older = matches!((self.generation, other), (Some(own), Some(other)) if own < other);
        let continues = Duty::of(mode, is_uninstalling, self.is_newer_than_uninstall())
            == Duty::ContinueUninstall;
        is_older || continues
    }
}

enum State {
    Waiting,
    Bound {
        session: Session,
        node: Arc<NodeContext>,
        ledger: UnlockedLedger,
    },
    Owner(Session),
    Draining {
        session: Session,
        /// How long calls may take to finish. `None` waits for all.
        grace: Option<Duration>,
        next: AfterDraining,
    },
    StandingBy,
    Ended(anyhow::Result<()>),
}

enum AfterDraining {
    StandBy,
    End(anyhow::Result<()>),
}

impl Takeover {
    pub(super) fn new(components: Components, feeds: Feeds, signals: Signals) -> Self {
        let marker = UninstallMarker::new(&components.settings.state_dir);
        Self {
            seniority: Seniority {
                generation: components.generation,
                saw_uninstall: marker.is_set(),
                has_yielded: false,
            },
            marker,
            components,
            feeds,
            signals,
        }
    }

    /// Runs until a signal or an error.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let mut state = State::Waiting;
        loop {
            state = match state {
                State::Waiting => self.wait().await?,
                State::Bound {
                    session,
                    node,
                    ledger,
                } => self.take_ledger(session, node, ledger).await,
                State::Owner(session) => self.serve(session).await,
                State::Draining {
                    session,
                    grace,
                    next,
                } => drain(session, grace, next).await,
                State::StandingBy => self.stand_by().await,
                State::Ended(outcome) => return outcome,
            };
        }
    }

    /// `Waiting`: waits until this daemon may bind the socket, and binds it.
    async fn wait(&mut self) -> anyhow::Result<State> {
        let components = &self.components;
        let socket = components.socket();
        let ledger = UnlockedLedger::open(&components.settings.state_dir)?;
        let node = Arc::new(components.node_context(ledger.id()));
        // An uninstallation takes over at once: the running daemon would install again.
        let able_to_serve = async {
            if components.mode == Mode::Install {
                wait_until_able_to_add(&node).await;
            }
        };
        let may_bind = async {
            able_to_serve.await;
            // Looked at last, because a newer daemon may have taken over in the meantime.
            let other = other_generation(&socket).await;
            let is_uninstalling = self.marker.is_set();
            let mode = components.mode;
            if self.seniority.yields_to(mode, other, is_uninstalling) {
                self.seniority.has_yielded = true;
                tracing::info!("a newer plexusd serves; this one stands by");
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = may_bind => {}
            () = wait_until_no_daemon(&socket) => {}
            () = self.signals.next() => return Ok(State::Ended(Ok(()))),
            error = self.feeds.failed() => return Err(error),
        }
        let listener = components.bind_socket()?;
        let multus = components.bind_multus_socket();
        let session = Session::start(listener, multus, |context, tasks, stop| AppState {
            node: node.clone(),
            context,
            tasks,
            stop,
            logs: components.logs.clone(),
            generation: components.generation,
        });
        Ok(State::Bound {
            session,
            node,
            ledger,
        })
    }

    /// `Bound`: waits for the ledger, and starts to serve all calls.
    async fn take_ledger(
        &mut self,
        mut session: Session,
        node: Arc<NodeContext>,
        ledger: UnlockedLedger,
    ) -> State {
        let next = tokio::select! {
            locked = lock_ledger(ledger, &node) => match locked {
                Ok(ledger) => {
                    self.start_serving(&mut session, node, ledger).await;
                    return State::Owner(session);
                }
                Err(error) => AfterDraining::End(Err(error)),
            },
            exit = &mut session.server => after_exit(exit),
            () = self.signals.next() => AfterDraining::End(Ok(())),
        };
        State::Draining {
            session,
            grace: None,
            next,
        }
    }

    /// Starts the tasks of the ledger's owner. The ledger is released when the last of them has
    /// ended.
    async fn start_serving(&self, session: &mut Session, node: Arc<NodeContext>, ledger: Ledger) {
        let Components {
            settings,
            shim,
            snapshot,
            startup_taint,
            new_reporter,
            ..
        } = &self.components;
        let is_newer = self.seniority.is_newer_than_uninstall();
        let duty = Duty::of(self.components.mode, self.marker.is_set(), is_newer);
        let installs = settings.publish.is_some() || settings.shim_dir.is_some();
        let context = Arc::new(Context {
            node,
            ledger,
            reporter: new_reporter(),
            install_status: duty.initial_status(installs),
        });
        // The previous daemon closed the port before releasing the ledger.
        let metrics = MetricsListener::bind(settings.metrics.address).await;
        session.serve_calls(&context);
        if let Some(metrics) = metrics {
            let router = probe_router(session.state.clone());
            session.spawn(|stop| metrics.serve(router, stop));
        }
        session.spawn(|stop| duty.run(&context, shim.clone(), stop));
        if let Some(taint) = startup_taint.clone() {
            session.spawn(|stop| taint.remove(context.clone(), stop));
        }
        session.spawn(|stop| async move { emit_node_events(&context, stop).await });
        if let Some(snapshot) = snapshot.clone() {
            session.spawn(|stop| async move { snapshot.write_changes(stop).await });
        }
        let (socket, version) = (self.components.socket(), env!("CARGO_PKG_VERSION"));
        tracing::info!(socket = %socket.display(), version, "plexusd serves");
    }

    /// `Owner`: serves until a signal, an error, or another daemon takes the socket.
    async fn serve(&mut self, mut session: Session) -> State {
        let grace = Some(self.components.settings.shutdown_grace);
        tokio::select! {
            () = self.signals.next() => {
                tracing::info!("stopping: calls in flight may finish");
                State::Draining { session, grace, next: AfterDraining::End(Ok(())) }
            }
            exit = &mut session.server => match after_exit(exit) {
                next @ AfterDraining::StandBy => State::Draining { session, grace: None, next },
                next @ AfterDraining::End(_) => State::Draining { session, grace, next },
            },
            error = self.feeds.failed() => State::Ended(Err(error)),
        }
    }

    /// `StandingBy`: waits until no other daemon serves.
    async fn stand_by(&mut self) -> State {
        tracing::info!("another plexusd serves; this one stands by");
        self.seniority.has_yielded = true;
        let socket = self.components.socket();
        tokio::select! {
            () = self.signals.next() => State::Ended(Ok(())),
            () = wait_until_no_daemon(&socket) => {
                tracing::info!("the plexusd that took over has ended; this one serves again");
                State::Waiting
            }
        }
    }
}

/// `Draining`: lets calls in flight finish, and releases the ledger.
async fn drain(session: Session, grace: Option<Duration>, next: AfterDraining) -> State {
    match grace {
        Some(grace) => session.drain_within(grace).await,
        None => session.drain().await,
    }
    match next {
        AfterDraining::StandBy => State::StandingBy,
        AfterDraining::End(outcome) => State::Ended(outcome),
    }
}

/// The next step after the server on the socket has ended without a signal.
fn after_exit(
    exit: Result<std::io::Result<ListenerExit>, tokio::task::JoinError>,
) -> AfterDraining {
    match exit
        .map_err(anyhow::Error::from)
        .and_then(|exit| exit.context("the socket was removed and cannot be created again"))
    {
        Ok(_) => {
            tracing::info!("another plexusd takes over: calls in flight finish here");
            AfterDraining::StandBy
        }
        Err(error) => AfterDraining::End(Err(error)),
    }
}

/// Waits until the previous daemon has released the ledger, and until plugins that it left running
/// can do no harm.
async fn lock_ledger(ledger: UnlockedLedger, node: &NodeContext) -> anyhow::Result<Ledger> {
    let ledger = tokio::task::spawn_blocking(move || ledger.lock(LOCK_WAIT)).await??;
    let timeout = node.settings.plugin_timeout;
    if let Err(error) = surviving_plugins::lock_containers(&ledger, &node.delegates, timeout).await
    {
        tracing::warn!(%error, "cannot determine whether plugins of an earlier plexusd still run");
    }
    Ok(ledger)
}

/// The signals that end the daemon.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// # Errors
    /// The signal handlers cannot be installed.
    pub(super) fn new() -> std::io::Result<Self> {
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

#[cfg(test)]
mod tests;
