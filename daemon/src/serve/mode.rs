//! What the daemon does to the node beside serving: put Plexus on it, or take it away.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::cli::Serve;
use crate::context::Context;
use crate::install::{Installer, SHIM, Status, Uninstaller};

/// What the daemon does to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What is configured is put on the node, and kept there.
    Install,
    /// It is taken away.
    Uninstall,
}

impl Mode {
    /// Before anything is done.
    pub(super) fn status(self, publishes: bool) -> Status {
        match self {
            Self::Install if publishes => {
                Status::pending("the runtime's configuration is not published yet")
            }
            Self::Install => Status::nothing(),
            Self::Uninstall => Status::pending("Plexus has not begun to leave this node yet"),
        }
    }

    /// Does it until `stop`.
    pub(super) fn fulfil(
        self,
        context: &Context,
        args: &Serve,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let Context {
            settings,
            file,
            store,
            default_network,
            installed,
            ledger,
            ..
        } = context;
        let (install, uninstall) = match self {
            Self::Install => (
                Installer::new(
                    settings,
                    file,
                    shim(args),
                    store,
                    default_network,
                    installed,
                ),
                None,
            ),
            Self::Uninstall => (
                None,
                Some(Uninstaller::new(settings, file, ledger, installed)),
            ),
        };
        async move {
            if let Some(install) = install {
                install.run(stop).await;
            } else if let Some(uninstall) = uninstall {
                uninstall.run(stop).await;
            }
        }
    }
}

/// Our own copy of the shim.
fn shim(args: &Serve) -> PathBuf {
    let beside = || {
        std::env::current_exe()
            .unwrap_or_default()
            .with_file_name(SHIM)
    };
    args.shim.clone().unwrap_or_else(beside)
}
