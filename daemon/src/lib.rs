//! plexusd, the node daemon: the rooms in the order in which a call walks through them.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delegate;
pub mod gather;
pub mod host;
pub mod install;
pub mod ledger;
pub mod netns;
pub mod plan;
pub mod recovery;
pub mod report;
pub mod server;
pub mod startup_taint;
pub mod telemetry;
pub mod verbs;
pub mod watched;
