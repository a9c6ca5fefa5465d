//! Reads the JSON objects of the annotation. Errors name the location.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::SelectionError;
use super::syntax::quote;
use crate::json::{RawMap, keys_match};

/// A JSON object and its location in the annotation.
pub(super) struct Reader {
    location: String,
    map: RawMap,
}

impl Reader {
    pub(super) fn new(raw: &RawValue, location: String) -> Result<Self, SelectionError> {
        match serde_json::from_str(raw.get()) {
            Ok(map) => Ok(Self { location, map }),
            Err(_) => Err(SelectionError::new(
                location,
                format!("{} is not an object", quote(raw.get())),
            )),
        }
    }

    /// The value of `key`. Returns `None` if the key is missing or null. A key in another case
    /// matches, too (K-047), but the exact key is preferred.
    pub(super) fn get<T: DeserializeOwned>(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, SelectionError> {
        let variant = || {
            self.map
                .iter()
                .find(|(other, _)| keys_match(other, key))
                .map(|(_, raw)| raw)
        };
        let Some(raw) = self.map.get(key).or_else(variant) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get())
            .map_err(|_| self.invalid(key, format!("{} is not {expected}", quote(raw.get()))))
    }

    /// The string at `key`. Returns `None` if the key is missing, null or empty.
    pub(super) fn string(&self, key: &str) -> Result<Option<String>, SelectionError> {
        Ok(self
            .get::<String>(key, "a string")?
            .filter(|text| !text.is_empty()))
    }

    /// The list at `key`; empty if the key is missing. An explicit empty list is an error.
    pub(super) fn non_empty_list<T: DeserializeOwned>(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Vec<T>, SelectionError> {
        match self.get::<Vec<T>>(key, expected)? {
            Some(list) if list.is_empty() => Err(self.invalid(key, "[] is empty; remove the key")),
            list => Ok(list.unwrap_or_default()),
        }
    }

    pub(super) fn location(&self, key: &str) -> String {
        format!("{}, key {key:?}", self.location)
    }

    pub(super) fn invalid(&self, key: &str, reason: impl Into<String>) -> SelectionError {
        SelectionError::new(self.location(key), reason)
    }
}
