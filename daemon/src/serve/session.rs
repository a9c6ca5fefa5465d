//! A session: the servers and tasks from the bind of the socket until the last call has finished.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::context::Context;
use crate::definition_check;
use crate::hotplug;
use crate::recovery;
use crate::server::{AppState, Listener, ListenerExit, router};

/// The servers and tasks of a session.
pub(super) struct Session {
    stop: CancellationToken,
    calls: TaskTracker,
    context: watch::Sender<Option<Arc<Context>>>,
    pub(super) state: AppState,
    /// The server on the socket.
    pub(super) server: JoinHandle<io::Result<ListenerExit>>,
    /// The server on Multus' socket.
    multus_server: JoinHandle<()>,
    background: JoinSet<()>,
}

impl Session {
    /// Accepts callers. STATUS is served at once, other calls wait for
    /// [`serve_calls`](Self::serve_calls).
    pub(super) fn start(
        listener: Listener,
        multus: Option<Listener>,
        state: impl FnOnce(
            watch::Receiver<Option<Arc<Context>>>,
            TaskTracker,
            CancellationToken,
        ) -> AppState,
    ) -> Self {
        let (stop, calls) = (CancellationToken::new(), TaskTracker::new());
        let context = watch::Sender::new(None);
        let state = state(context.subscribe(), calls.clone(), stop.clone());
        let router = router(state.clone());
        // A child token, because the end of this server must not stop the server on our own socket.
        let multus_stop = stop.child_token();
        let multus_router = router.clone();
        let multus_server = tokio::spawn(async move {
            if let Some(listener) = multus {
                log_multus_exit(listener.serve(multus_router, multus_stop).await);
            }
        });
        let server = tokio::spawn(listener.serve(router, stop.clone()));
        Self {
            stop,
            calls,
            context,
            state,
            server,
            multus_server,
            background: JoinSet::new(),
        }
    }

    /// Starts to serve all calls, and starts recovery.
    pub(super) fn serve_calls(&mut self, context: &Arc<Context>) {
        self.spawn(|stop| recovery::run(context.clone(), stop));
        let rounds = self.state.hotplug_rounds.clone();
        self.spawn(|stop| hotplug::run(context.clone(), rounds, stop));
        self.spawn(|stop| definition_check::run(context.clone(), stop));
        self.context.send_replace(Some(context.clone()));
    }

    /// Runs a task that ends when its token is cancelled.
    pub(super) fn spawn<T: Future<Output = ()> + Send + 'static>(
        &mut self,
        task: impl FnOnce(CancellationToken) -> T,
    ) {
        self.background.spawn(task(self.stop.clone()));
    }

    /// Stops accepting callers, and waits for all calls and tasks. The end of the last one releases
    /// the ledger.
    pub(super) async fn drain(mut self) {
        self.stop.cancel();
        if !self.server.is_finished() {
            let _ = (&mut self.server).await;
        }
        let _ = self.multus_server.await;
        self.calls.close();
        self.calls.wait().await;
        while self.background.join_next().await.is_some() {}
    }

    /// [`drain`](Self::drain), but for at most `grace`.
    pub(super) async fn drain_within(self, grace: Duration) {
        if tokio::time::timeout(grace, self.drain()).await.is_err() {
            tracing::warn!(
                "stopped with calls in flight; the next start undoes what they attached"
            );
        }
    }
}

fn log_multus_exit(exit: io::Result<ListenerExit>) {
    match exit {
        Ok(ListenerExit::Stopped) => {}
        Ok(ListenerExit::Superseded) => {
            tracing::info!("another program now listens on multus.sock");
        }
        Err(error) => tracing::error!(%error, "Plexus no longer listens on multus.sock"),
    }
}
