//! The keys of a list.

use super::{ConfigError, MAX_LIST};
use crate::cni::{UnsupportedVersion, Version};
use crate::json::{Object, count_entries};
use crate::quote;

/// Whether a list has `cniVersion` or `cniVersions`.
pub(super) fn offers_version(object: &Object) -> bool {
    ["cniVersion", "cniVersions"].iter().any(|key| {
        object
            .raw(key)
            .is_some_and(|raw| !matches!(raw.get(), "\"\"" | "[]"))
    })
}

/// Refuses a list or an object with more than `max` entries before it is parsed (decision 37).
/// `key` has the list or object as its value, and is empty for the whole configuration.
pub(super) fn check_entries(text: &str, max: usize, key: &str) -> Result<(), ConfigError> {
    let count = count_entries(text);
    if count <= max {
        Ok(())
    } else if key.is_empty() {
        Err(ConfigError::Keys(count))
    } else {
        Err(ConfigError::Key {
            key: key.to_owned(),
            reason: format!("has {count} entries, but may have {max}"),
        })
    }
}

/// The highest supported version of `cniVersion` and `cniVersions`.
pub(super) fn select_version(object: &Object, default: Version) -> Result<Version, ConfigError> {
    let single = string(object, "cniVersion")?;
    if let Some(versions) = object.raw("cniVersions") {
        check_entries(versions.get(), MAX_LIST, "cniVersions")?;
    }
    let list: Vec<String> = object
        .get("cniVersions")
        .map_err(|_| ConfigError::Key {
            key: "cniVersions".into(),
            reason: "must be a list of strings".into(),
        })?
        .unwrap_or_default();
    if let Some(invalid) = list.iter().find(|version| !is_semver(version)) {
        return Err(ConfigError::Key {
            key: "cniVersions".into(),
            reason: format!("has {}, which is not a version", quote(invalid)),
        });
    }
    let offered: Vec<&str> = single.iter().chain(&list).map(String::as_str).collect();
    if offered.is_empty() {
        return Ok(default);
    }
    offered
        .iter()
        .filter_map(|version| version.parse().ok())
        .max()
        .ok_or_else(|| UnsupportedVersion(offered.join(", ")).into())
}

fn is_semver(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    parts.len() == 3
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn string(object: &Object, key: &str) -> Result<Option<String>, ConfigError> {
    object.string(key).map_err(|_| ConfigError::Key {
        key: key.into(),
        reason: "must be a string".into(),
    })
}

/// A boolean, which libcni also accepts as a string.
pub(super) fn boolean(object: &Object, key: &str) -> Result<bool, ConfigError> {
    let value = match object.get::<serde_json::Value>(key) {
        Ok(None) => Some(false),
        Ok(Some(serde_json::Value::Bool(value))) => Some(value),
        Ok(Some(serde_json::Value::String(text))) => match text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        },
        _ => None,
    };
    value.ok_or_else(|| ConfigError::Key {
        key: key.into(),
        reason: "must be true or false".into(),
    })
}
