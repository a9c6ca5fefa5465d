//! The mode of the daemon: whether Plexus is installed on the node, or uninstalled, while calls are
//! served.

use std::path::PathBuf;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, NodeContext};
use crate::install::{InstallStatus, Installer, Uninstaller};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Install the shim and the runtime's configuration, and keep them in place.
    Install,
    /// Remove both.
    Uninstall,
}

impl Mode {
    /// The install status at start-up. `publishes` is whether the runtime's configuration is to be
    /// published.
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
    ) -> BoxFuture<'static, ()> {
        let Context {
            node,
            install_status,
            ledger,
            ..
        } = context;
        let NodeContext {
            settings,
            fields,
            store,
            default_network,
            ..
        } = node.as_ref();
        match self {
            Self::Install => Installer::new(
                settings,
                fields,
                shim,
                store,
                default_network,
                install_status,
            )
            .map_or_else(
                || std::future::ready(()).boxed(),
                |installer| installer.run(stop).boxed(),
            ),
            Self::Uninstall => Uninstaller::new(settings, fields, ledger, install_status)
                .run(stop)
                .boxed(),
        }
    }
}
