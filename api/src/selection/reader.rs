//! Reads the JSON objects of the annotation. Errors name the location.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::SelectionError;
use crate::json::{Object, ValuePath};
use crate::shorten;

/// A JSON object and its place in the annotation.
pub(super) struct Reader {
    path: ValuePath,
    object: Object,
}

impl Reader {
    pub(super) fn new(raw: &RawValue, path: ValuePath) -> Result<Self, SelectionError> {
        if let Ok(object) = serde_json::from_str(raw.get()) {
            return Ok(Self { path, object });
        }
        let reason = format!("{} is not an object", shorten(raw.get()));
        Err(SelectionError::at(path, reason))
    }

    /// The value of `key`. Returns `None` if the key is missing or null (K-047).
    pub(super) fn get<T: DeserializeOwned>(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, SelectionError> {
        self.object
            .get(key)
            .map_err(|raw| self.invalid(key, format!("{} is not {expected}", shorten(raw.get()))))
    }

    /// The string at `key`. Returns `None` if the key is missing, null or empty.
    pub(super) fn string(&self, key: &str) -> Result<Option<String>, SelectionError> {
        Ok(self
            .get::<String>(key, "a string")?
            .filter(|text| !text.is_empty()))
    }

    /// The list at `key`; empty if the key is missing or null.
    pub(super) fn list<T: DeserializeOwned>(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Vec<T>, SelectionError> {
        Ok(self.get(key, expected)?.unwrap_or_default())
    }

    /// Whether the object has no key.
    pub(super) fn is_empty(&self) -> bool {
        self.object.keys().is_empty()
    }

    pub(super) fn path(&self, key: &str) -> ValuePath {
        self.path.join(key)
    }

    pub(super) fn invalid(&self, key: &str, reason: impl Into<String>) -> SelectionError {
        SelectionError::at(self.path(key), reason)
    }
}
