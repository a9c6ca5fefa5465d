//! plexusd, the node daemon: `docs/architecture.md` says what each room does.

pub mod app;
pub mod cli;
pub mod clock;
pub mod cluster;
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
