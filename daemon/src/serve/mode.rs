//! What the daemon does to the node besides serving: install Plexus, or uninstall it.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::context::{Context, NodeContext};
use crate::install::{InstallStatus, Installer, Uninstaller};

/// The mode of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The shim and the runtime's configuration are installed, and kept in place.
    Install,
    /// Both are removed.
    Uninstall,
}

impl Mode {
    /// The status before the first action.
    pub(super) fn initial_status(self, publishes: bool) -> InstallStatus {
        match self {
            Self::Install if publishes => {
                InstallStatus::not_checked("the runtime's configuration is not published yet")
            }
            Self::Install => InstallStatus::not_installing(),
            Self::Uninstall => InstallStatus::not_checked("the uninstallation has not started yet"),
        }
    }

    /// Installs or uninstalls until `stop`. `shim` is the daemon's own copy of the shim.
    pub(super) fn run(
        self,
        context: &Context,
        shim: PathBuf,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let Context {
            node,
            installed,
            ledger,
            ..
        } = context;
        let NodeContext {
            settings,
            file,
            store,
            default_network,
            ..
        } = node.as_ref();
        let (mut install, mut uninstall) = (None, None);
        match self {
            Self::Install => {
                install = Installer::new(settings, file, shim, store, default_network, installed);
            }
            Self::Uninstall => {
                uninstall = Some(Uninstaller::new(settings, file, ledger, installed));
            }
        }
        async move {
            if let Some(install) = install {
                install.run(stop).await;
            } else if let Some(uninstall) = uninstall {
                uninstall.run(stop).await;
            }
        }
    }
}
