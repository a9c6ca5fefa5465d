//! plexusd, the node daemon. The way of a call: [`plan`] is pure and owns the types that the rooms share.

pub mod config;
pub mod plan;
pub mod report;
