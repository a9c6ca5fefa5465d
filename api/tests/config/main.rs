//! Configurations of networks and of calls.

mod call;
mod form;
mod keys;
mod names;
mod random;
mod versions;

use plexus_api::cni::{CniError, Defaults, NetworkConfig, Version};
use serde_json::{Value, json};

const DEFAULTS: Defaults<'static> = Defaults {
    name: None,
    version: Version::V0_1_0,
};

fn parse(value: &Value) -> NetworkConfig {
    NetworkConfig::parse(&value.to_string(), DEFAULTS)
        .unwrap_or_else(|error| panic!("{value}: {error}"))
}

fn refused(value: &Value) -> CniError {
    match NetworkConfig::parse(&value.to_string(), DEFAULTS) {
        Ok(network) => panic!("{value} was accepted as {network:?}"),
        Err(error) => error.into(),
    }
}

/// A single plugin with additional `keys`.
fn single(keys: &Value) -> Value {
    with(
        json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge"}),
        keys,
    )
}

/// A list of one plugin with additional `keys`.
fn list(keys: &Value) -> Value {
    with(
        json!({"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge"}]}),
        keys,
    )
}

/// `base` with `keys` set; null removes a key.
fn with(mut base: Value, keys: &Value) -> Value {
    let map = base.as_object_mut().expect("an object");
    for (key, value) in keys.as_object().expect("an object") {
        if value.is_null() {
            map.remove(key);
        } else {
            map.insert(key.clone(), value.clone());
        }
    }
    base
}

fn kinds(network: &NetworkConfig) -> Vec<String> {
    network
        .plugins
        .iter()
        .map(plexus_api::cni::PluginConfig::kind)
        .collect()
}
