//! The subcommands of plexusd, except `serve` and `uninstall`.

mod age;
mod crd;
mod daemon;
mod doctor;
mod inspect;
mod ledger;
mod lint;
mod log_level;
mod plan;
mod probe;
mod sandbox_links;
mod status;
mod table;

pub use crd::crd;
pub use doctor::{Check, doctor};
pub use inspect::inspect;
pub use ledger::ledger;
pub use lint::lint;
pub use log_level::log_level;
pub use plan::run as plan;
pub use probe::probe;
pub use status::status;

/// Runs a launcher; see [`crate::host`].
///
/// # Errors
/// Stdin is not the socket of a daemon.
pub fn launch_plugins() -> anyhow::Result<()> {
    Ok(crate::host::launch_plugins()?)
}
