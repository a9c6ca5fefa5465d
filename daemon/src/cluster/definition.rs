//! Network-attachment-definitions, reduced to what the daemon uses.

use std::sync::{Arc, Mutex, OnceLock, Weak};

use plexus_api::cni::{ConfigError, Defaults, NetworkConfig, Version};
use serde::{Deserialize, Serialize};

use crate::mutex::lock;

/// The annotation of a definition that names a device plugin's resource.
pub(crate) const RESOURCE_NAME: &str = "k8s.v1.cni.cncf.io/resourceName";

/// The largest length of a resource's name in Kubernetes: a DNS name of 253 bytes, `/`, and 63.
pub(crate) const MAX_RESOURCE_NAME: usize = 253 + 1 + 63;

/// A network-attachment-definition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Definition {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Empty in manifests.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
    /// `spec.config`. The specification makes both `spec` and `config` optional (K-002).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<String>,
    /// The value of the annotation `k8s.v1.cni.cncf.io/resourceName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource_name: Option<String>,
    /// The creation time in seconds since 1970. `None` in manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<i64>,
    #[serde(skip)]
    pub(crate) parsed: ParsedConfig,
}

impl Definition {
    /// The length of the configuration, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.config.as_ref().map_or(0, String::len)
    }

    /// Whether the definition has a configuration of its own.
    pub(crate) fn has_config(&self) -> bool {
        self.config
            .as_ref()
            .is_some_and(|config| !config.is_empty())
    }

    /// The name of the network inside the configuration, which is parsed once for this.
    pub(crate) fn network_name(&self) -> &str {
        let other_name = self.parsed.network_name.get_or_init(|| {
            let config = self.network_config().ok().flatten()?;
            (config.name != self.name).then(|| config.name.as_str().into())
        });
        other_name.as_deref().unwrap_or(&self.name)
    }

    /// The configuration, with the definition's name as default name (K-005). All callers share it
    /// while one of them uses it. Returns `None` for a definition without a configuration.
    ///
    /// # Errors
    /// The configuration is invalid or has no plugin.
    pub(crate) fn network_config(&self) -> Result<Option<Arc<NetworkConfig>>, ConfigError> {
        let Some(text) = self.config.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        // Locked while the text is parsed, so that the others wait for the result.
        let mut parsed = lock(&self.parsed.config);
        if let Some(config) = parsed.upgrade() {
            return Ok(Some(config));
        }
        let defaults = Defaults {
            name: Some(&self.name),
            version: Version::V1_0_0,
        };
        let config =
            NetworkConfig::parse(text, defaults).and_then(NetworkConfig::require_plugin)?;
        let config = Arc::new(config);
        *parsed = Arc::downgrade(&config);
        Ok(Some(config))
    }
}

/// What a definition's configuration was parsed to. Not part of the definition's value.
#[derive(Debug, Default)]
pub(crate) struct ParsedConfig {
    /// As long as the configuration is in use.
    config: Mutex<Weak<NetworkConfig>>,
    /// The network's name, if the configuration is valid and has another name than the definition.
    network_name: OnceLock<Option<Box<str>>>,
}

impl Clone for ParsedConfig {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for ParsedConfig {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for ParsedConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_shared_while_it_is_in_use() {
        let definition = Definition {
            name: "net".to_owned(),
            config: Some(r#"{"type":"x"}"#.to_owned()),
            ..Definition::default()
        };
        let config = || {
            definition
                .network_config()
                .expect("valid")
                .expect("present")
        };
        let first = config();
        assert_eq!(first.name, "net");
        assert!(Arc::ptr_eq(&first, &config()));
        let unused = Arc::downgrade(&first);
        drop(first);
        assert!(unused.upgrade().is_none(), "no memory without a user");
        assert_eq!(definition, definition.clone());
    }

    #[test]
    fn the_network_has_the_name_inside_the_configuration_or_that_of_the_definition() {
        let name = |config: Option<&str>| {
            let definition = Definition {
                name: "own".to_owned(),
                config: config.map(str::to_owned),
                ..Definition::default()
            };
            definition.network_name().to_owned()
        };
        assert_eq!(name(Some(r#"{"NAME":"other","type":"x"}"#)), "other");
        for own in [Some(r#"{"type":"x"}"#), Some("{"), Some(""), None] {
            assert_eq!(name(own), "own");
        }
    }
}
