//! plexusd, the node daemon. The way of a call: [`plan`] is pure and owns the types that the rooms share; [`delegate`]
//! runs the plugins, which [`host`] spawns.

pub mod delegate;
pub mod host;
pub mod plan;
