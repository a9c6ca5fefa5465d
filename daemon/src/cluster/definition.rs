//! Network-attachment-definitions, reduced to what the daemon uses.

use std::sync::{Arc, Mutex, Weak};

use plexus_api::cni::{ConfigError, Defaults, NetworkConfig, Version};
use serde::{Deserialize, Serialize};

use crate::mutex::lock;

/// The annotation of a definition that names a device plugin's resource.
pub(super) const RESOURCE_NAME: &str = "k8s.v1.cni.cncf.io/resourceName";

/// A network-attachment-definition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Definition {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `spec.config`. The specification makes both `spec` and `config` optional (K-002).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<String>,
    /// The value of the annotation `k8s.v1.cni.cncf.io/resourceName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource_name: Option<String>,
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
        let mut parsed = lock(&self.parsed.0);
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

/// The parsed configuration of a definition, as long as it is in use. Not part of the definition's
/// value.
#[derive(Debug, Default)]
pub(crate) struct ParsedConfig(Mutex<Weak<NetworkConfig>>);

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
}
