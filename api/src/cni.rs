//! Types of the CNI specification 1.1.0: calls, configurations, results, errors.

mod args;
mod call_config;
mod config;
mod convert;
mod de;
mod env;
mod error;
mod name;
mod plugin_result;
mod result;
mod result_keys;
mod version;

pub use crate::json::RawMap;
pub use args::CniArgs;
pub use call_config::CallConfig;
pub use config::{ConfigError, Defaults, MAX_KEYS, MAX_PLUGINS, NetworkConfig, PluginConfig};
pub use env::{CniEnv, Verb};
pub use error::{CniError, Code};
pub use name::{
    NameError, validate_container_id, validate_ifname, validate_network_name, validate_plugin_type,
    validate_pod_argument,
};
pub use plugin_result::PluginResult;
pub use result::{CniResult, Dns, Interface, Ip, ResultError, Route};
pub use version::{UnsupportedVersion, Version};
