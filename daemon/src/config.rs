//! The node's configuration: the keys of Multus' daemon-config.json and ours, checked once, in one struct.
//!
//! Keys count in the file given to `plexusd` and in the network configuration that a runtime hands over with a call;
//! the file wins. They match case-insensitively, as they do for Multus.

mod fields;
mod host_paths;
mod install;
mod settings;
mod telemetry;

pub use fields::{Fields, FieldsError};
pub use host_paths::{on_host, resolve_host_paths};
pub use install::Publish;
pub use settings::{MountNamespace, Settings};
pub use telemetry::{LogFile, LogSettings, MetricsSettings};

#[cfg(test)]
mod tests;
