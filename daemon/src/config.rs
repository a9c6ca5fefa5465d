//! The node's configuration: the keys of Multus' daemon-config.json and of Plexus, validated once
//! and kept in one struct.
//!
//! Keys are read from the daemon's configuration file and from the network configuration that a
//! runtime passes with a call. The file wins. Keys match in any case, as in Multus.

mod auxiliary_chain;
mod cluster_routes;
mod fields;
mod host_paths;
mod install;
mod plugin_types;
mod settings;
mod switch;
mod telemetry;

pub use auxiliary_chain::AuxiliaryChain;
pub use fields::{Fields, FieldsError};
pub use host_paths::{on_host, resolve_host_paths};
#[cfg(test)]
pub(crate) use install::MAX_SOCKET_DIR;
pub use install::PublishSettings;
pub use plugin_types::AllowedPluginTypes;
pub use settings::{CheckPlugins, MountNamespace, Settings};
pub use switch::Switch;
pub use telemetry::{LogFile, LogSettings, MetricsSettings};

#[cfg(test)]
mod tests;
