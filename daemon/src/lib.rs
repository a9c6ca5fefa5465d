//! plexusd, the node daemon: `docs/architecture.md` describes its modules.

#![warn(unreachable_pub)]

pub mod allocator;
mod atomic_file;
mod attached_pods;
mod backoff;
mod call_limits;
mod capabilities;
pub mod cli;
mod clock;
mod cluster;
pub mod commands;
mod conditions;
pub mod config;
mod context;
mod definition_check;
mod delegate;
mod device_info;
mod dir_watcher;
mod durable;
mod file_id;
mod gather;
mod host;
mod hotplug;
mod install;
mod ledger;
mod memory_budget;
mod model;
mod mutex;
mod netns;
mod operations;
mod plan;
mod problem;
mod readiness;
mod recovery;
mod regular_file;
mod report;
pub mod serve;
mod server;
mod suggest;
mod telemetry;

pub use commands::Check;
pub use install::ProblemKind;
pub use report::events::EventReason;
