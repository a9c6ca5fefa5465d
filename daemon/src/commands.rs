//! The subcommands of plexusd, except `serve` and `uninstall`.

mod crd;
mod ledger;
mod probe;

pub use crd::crd;
pub use ledger::ledger;
pub use probe::probe;
