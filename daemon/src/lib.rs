//! plexusd, the node daemon: the rooms in the order in which a call walks through them.

pub mod config;
pub mod delegate;
pub mod host;
pub mod ledger;
pub mod plan;
pub mod recovery;
pub mod report;
