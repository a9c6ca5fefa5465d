//! What the daemon does to the node beside serving: put Plexus on it, or take it away.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::cli::Serve;
use crate::install::{Install, SHIM, Status, Uninstall};
use crate::verbs::Verbs;

/// What the daemon does to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// What is configured is put on the node, and kept there.
    Install,
    /// It is taken away.
    Uninstall,
}

impl Duty {
    /// Before anything is done.
    pub(super) fn status(self, publishes: bool) -> Status {
        if self == Self::Uninstall || publishes { Status::pending() } else { Status::nothing() }
    }

    /// Does it until `stop`.
    pub(super) fn fulfil(
        self,
        verbs: &Verbs,
        args: &Serve,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let Verbs { settings, file, store, primary, installed, ledger, .. } = verbs;
        let (install, uninstall) = match self {
            Self::Install => (Install::new(settings, file, shim(args), store, primary, installed), None),
            Self::Uninstall => (None, Some(Uninstall::new(settings, file, ledger, installed))),
        };
        async move {
            let done = match (install, uninstall) {
                (Some(install), _) => install.run(stop).await,
                (None, Some(uninstall)) => uninstall.run(stop).await,
                (None, None) => Ok(()),
            };
            if let Err(error) = done {
                tracing::error!(%error, "the installation on this node is not looked after any more");
            }
        }
    }
}

/// Our own copy of the shim.
fn shim(args: &Serve) -> PathBuf {
    let beside = || std::env::current_exe().unwrap_or_default().with_file_name(SHIM);
    args.shim.clone().unwrap_or_else(beside)
}
