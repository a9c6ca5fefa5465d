//! The mode of the daemon, and what follows for the node: whether Plexus is installed or
//! uninstalled while calls are served.

use std::path::PathBuf;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, NodeContext};
use crate::install::{InstallStatus, Installer, Uninstaller};

/// The subcommand that the daemon was started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Install the shim and the runtime's configuration, and keep them in place.
    Install,
    /// Remove both.
    Uninstall,
}

/// What the owner of the ledger does with the shim and the runtime's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum InstallAction {
    /// Remove the marker of an earlier uninstall, install both, and keep them in place.
    Install,
    /// Write the marker, and remove both.
    Uninstall,
    /// The same for a daemon that was started to install Plexus before an uninstall began
    /// (decision 40). Only a restart makes it install Plexus again.
    ContinueUninstall,
}

impl InstallAction {
    /// The action of a daemon in `mode` that has just locked the ledger. `is_uninstalling` is whether
    /// the marker of an uninstall exists. `is_newer` is whether this process was started after that
    /// uninstall began, and no other daemon has served since.
    pub(super) fn of(mode: Mode, is_uninstalling: bool, is_newer: bool) -> Self {
        match mode {
            Mode::Uninstall => Self::Uninstall,
            Mode::Install if is_uninstalling && !is_newer => Self::ContinueUninstall,
            Mode::Install => Self::Install,
        }
    }

    /// The install status at start-up. `installs` is whether the settings enable the installation.
    pub(super) fn initial_status(self, installs: bool) -> InstallStatus {
        match self {
            Self::Install if installs => InstallStatus::not_checked("Plexus is not installed yet"),
            Self::Install => InstallStatus::not_installing(),
            Self::Uninstall | Self::ContinueUninstall => {
                InstallStatus::not_checked("the uninstallation has not started yet")
            }
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
            api_reader,
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
            .run(stop)
            .boxed(),
            Self::Uninstall | Self::ContinueUninstall => Uninstaller::new(
                settings,
                fields,
                ledger,
                api_reader.as_ref().map(|_| store),
                install_status,
                self == Self::ContinueUninstall,
            )
            .run(stop)
            .boxed(),
        }
    }
}
