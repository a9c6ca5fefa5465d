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
//!   ([`InstallAction`], decision 40).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::components::{Components, Feeds};
use super::mode::{InstallAction, Mode};
use super::seniority::Seniority;
use super::session::Session;
use crate::attached_pods::AttachedPods;
use crate::conditions::Condition;
use crate::context::{Context, NodeContext};
use crate::hotplug::Rounds;
use crate::install::UninstallMarker;
use crate::ledger::{Ledger, LedgerError, UnlockedLedger};
use crate::operations::wait_until_able_to_add;
use crate::readiness::{REPAIR_STATE_DIR, Startup, emit_node_events, monitor, state_dir};
use crate::recovery::surviving_plugins;
use crate::server::{
    AppState, ListenerExit, MetricsPort, other_generation, probe_router, wait_until_no_daemon,
};
use crate::telemetry::ChangeFilter;

/// How long a daemon waits for the ledger of the previous daemon, which finishes its calls first.
/// Longer than any call can take.
pub const LOCK_WAIT: Duration = Duration::from_mins(3);
/// The pause before the state directory is used again after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// The state machine.
pub(super) struct Takeover {
    components: Components,
    feeds: Feeds,
    signals: Signals,
    marker: UninstallMarker,
    seniority: Seniority,
    startup: Startup,
    logged: ChangeFilter,
}

enum State {
    Waiting,
    Bound {
        session: Session,
        node: Arc<NodeContext>,
        /// `None` if the ledger cannot be opened.
        ledger: Option<UnlockedLedger>,
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
    StartOver,
    End(anyhow::Result<()>),
}

impl Takeover {
    pub(super) fn new(components: Components, feeds: Feeds, signals: Signals) -> Self {
        let marker = UninstallMarker::new(&components.settings.state_dir);
        Self {
            seniority: Seniority::new(components.generation, marker.is_set()),
            marker,
            startup: Startup::default(),
            logged: ChangeFilter::default(),
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
        let ledger = UnlockedLedger::open(&components.settings.state_dir)
            .inspect_err(|error| {
                if self.logged.is_new(error.to_string()) {
                    tracing::error!("not ready: {error}; {REPAIR_STATE_DIR}");
                }
            })
            .ok();
        self.logged.end_round();
        let node = Arc::new(components.node_context(ledger.as_ref()));
        // An uninstallation takes over at once: the running daemon would install again.
        let able_to_serve = async {
            if components.mode == Mode::Install {
                wait_until_able_to_add(&node).await;
                wait_until_writable(&components.settings.state_dir).await;
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
            () = may_bind, if ledger.is_some() => {}
            () = wait_until_no_daemon(&socket) => {}
            () = sleep(RETRY_PAUSE), if ledger.is_none() => return Ok(State::Waiting),
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
            startup: self.startup.clone(),
            generation: components.generation,
            hotplug_rounds: Rounds::default(),
        });
        Ok(State::Bound {
            session,
            node,
            ledger,
        })
    }

    /// `Bound`: waits for the ledger, and starts to serve all calls. If the ledger cannot be used,
    /// the probes say why, and this daemon starts over.
    async fn take_ledger(
        &mut self,
        mut session: Session,
        node: Arc<NodeContext>,
        ledger: Option<UnlockedLedger>,
    ) -> State {
        let (startup, state_dir) = (&self.startup, &self.components.settings.state_dir);
        let locked = async {
            let ledger = ledger.map_or_else(|| UnlockedLedger::open(state_dir), Ok);
            match ledger {
                Ok(ledger) => lock_ledger(ledger, &node, startup).await,
                Err(error) => Err(error),
            }
        };
        let next = tokio::select! {
            locked = locked => match locked {
                Ok(ledger) => {
                    self.start_serving(&mut session, node, ledger).await;
                    return State::Owner(session);
                }
                Err(error @ LedgerError::Locked { .. }) => AfterDraining::End(Err(error.into())),
                Err(error) => {
                    startup.fails(error.to_string());
                    tokio::select! {
                        () = sleep(RETRY_PAUSE) => AfterDraining::StartOver,
                        exit = &mut session.server => after_exit(exit),
                        () = self.signals.next() => AfterDraining::End(Ok(())),
                    }
                }
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
        let action = InstallAction::of(self.components.mode, self.marker.is_set(), is_newer);
        let installs = settings.publish.is_some() || settings.shim_dir.is_some();
        let context = Arc::new(Context {
            node,
            ledger,
            reporter: new_reporter(),
            install_status: action.initial_status(installs),
            attached_pods: AttachedPods::new(settings.hotplug),
        });
        let conditions = &context.node.conditions;
        let state_dir = settings.state_dir.clone();
        conditions.set(
            Condition::StateDir,
            state_dir::problem(state_dir, false).await,
        );
        if let Some(address) = settings.metrics.address {
            // The previous daemon closed the port before releasing the ledger.
            let port = MetricsPort::open(address, conditions).await;
            let router = probe_router(session.state.clone());
            session.spawn(|stop| port.serve(router, stop));
        }
        session.serve_calls(&context);
        session.spawn(|stop| monitor(context.clone(), stop));
        session.spawn(|stop| action.run(&context, shim.clone(), stop));
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
                next @ AfterDraining::End(_) => State::Draining { session, grace, next },
                next => State::Draining { session, grace: None, next },
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
        AfterDraining::StartOver => State::Waiting,
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

/// Waits until the state directory can be written: another daemon should not be replaced before.
async fn wait_until_writable(state_dir: &Path) {
    let mut logged = false;
    while let Some(problem) = state_dir::problem(state_dir.to_owned(), false).await {
        if !std::mem::replace(&mut logged, true) {
            tracing::error!("not ready: {problem}; a running plexusd keeps serving");
        }
        sleep(RETRY_PAUSE).await;
    }
}

/// Waits until the previous daemon has released the ledger, and until plugins that it left running
/// can do no harm.
async fn lock_ledger(
    ledger: UnlockedLedger,
    node: &NodeContext,
    startup: &Startup,
) -> Result<Ledger, LedgerError> {
    let steps = startup.clone();
    let lock = move || ledger.lock(LOCK_WAIT, |step| steps.reaches(step));
    let ledger = tokio::task::spawn_blocking(lock)
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    startup.waits_for_plugins();
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
