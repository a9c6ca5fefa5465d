//! The Container Network Interface, specification 1.1.0: what a runtime gives, and what a plugin answers.

mod args;
mod config;
mod convert;
mod env;
mod error;
mod lenient;
mod name;
mod result;
mod version;

pub use args::CniArgs;
pub use config::{ConfigError, Defaults, NetworkConfig, PluginConfig, RawMap};
pub use env::{CniEnv, Verb};
pub use error::{CniError, Code};
pub use name::{
    validate_container_id, validate_ifname, validate_network_name, validate_plugin_type,
    validate_pod_argument,
};
pub use result::{CniResult, Dns, Interface, Ip, PluginResult, Route};
pub use version::Version;
