//! The time during which a daemon has the socket, and then the ledger.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::context::Context;
use crate::recovery;
use crate::server::{Ended, Listener, Shared, router};

/// From the binding of the socket until all calls have finished.
pub(super) struct Session {
    stop: CancellationToken,
    tasks: TaskTracker,
    context: watch::Sender<Option<Arc<Context>>>,
    /// What the paths of the socket work with.
    pub(crate) shared: Shared,
    /// The server on the socket.
    pub(crate) server: JoinHandle<io::Result<Ended>>,
    /// The server on Multus' socket.
    multus: JoinHandle<()>,
    beside: JoinSet<()>,
}

impl Session {
    /// Takes callers in. STATUS is answered at once, what needs the ledger once that [is there](Self::open).
    pub(super) fn begin(
        listener: Listener,
        multus: Option<Listener>,
        shared: impl FnOnce(
            watch::Receiver<Option<Arc<Context>>>,
            TaskTracker,
            CancellationToken,
        ) -> Shared,
    ) -> Self {
        let (stop, tasks, context) = (
            CancellationToken::new(),
            TaskTracker::new(),
            watch::Sender::new(None),
        );
        let shared = shared(context.subscribe(), tasks.clone(), stop.clone());
        let router = router(shared.clone());
        // What ends this one alone is no end of the other.
        let multus = multus.map(|listener| listener.serve(router.clone(), stop.child_token()));
        let multus = tokio::spawn(async move {
            let Some(serve) = multus else { return };
            match serve.await {
                Ok(Ended::Superseded) => {
                    tracing::info!("another listens on multus.sock from here on");
                }
                Ok(Ended::Stopped) => {}
                Err(error) => {
                    tracing::error!(%error, "Plexus does not listen on multus.sock any more");
                }
            }
        });
        let server = tokio::spawn(listener.serve(router, stop.clone()));
        Self {
            stop,
            tasks,
            context,
            shared,
            server,
            multus,
            beside: JoinSet::new(),
        }
    }

    /// Serves all calls from here on, and looks after leftovers.
    pub(super) fn open(&mut self, context: &Arc<Context>) {
        let leftovers = context.clone();
        self.also(|stop| recovery::run(leftovers, stop));
        self.context.send_replace(Some(context.clone()));
    }

    /// Does this beside serving, until the token says that it is to end.
    pub(super) fn also<W: Future<Output = ()> + Send + 'static>(
        &mut self,
        work: impl FnOnce(CancellationToken) -> W,
    ) {
        self.beside.spawn(work(self.stop.clone()));
    }

    /// What the end of the server means, which nobody has asked for.
    ///
    /// # Errors
    /// The socket is lost.
    pub(super) fn superseded(ended: Result<io::Result<Ended>, JoinError>) -> anyhow::Result<()> {
        ended?.context("the socket was removed, and cannot be made again")?;
        tracing::info!("another plexusd takes over: calls in flight finish here");
        Ok(())
    }

    /// Lets all calls finish, and lets go of the ledger with the last.
    pub(super) async fn end(mut self) {
        self.stop.cancel();
        if !self.server.is_finished() {
            let _ = (&mut self.server).await;
        }
        let _ = self.multus.await;
        self.tasks.close();
        self.tasks.wait().await;
        while self.beside.join_next().await.is_some() {}
    }

    /// The same, but not longer than `grace`.
    pub(super) async fn end_within(self, grace: Duration) {
        if tokio::time::timeout(grace, self.end()).await.is_err() {
            tracing::warn!(
                "stopped with calls in flight; what they attached is undone at the next start"
            );
        }
    }
}
