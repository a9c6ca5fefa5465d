//! The subcommands of plexusd, except `serve` and `uninstall`.

mod crd;
mod ledger;
mod lint;
mod plan;
mod probe;

pub use crd::crd;
pub use ledger::ledger;
pub use lint::lint;
pub use plan::run as plan;
pub use probe::probe;

/// Runs a launcher; see [`crate::host`].
///
/// # Errors
/// Stdin is not the socket of a daemon.
pub fn launch_plugins() -> anyhow::Result<()> {
    Ok(crate::host::launch_plugins()?)
}
