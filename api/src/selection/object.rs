//! A JSON object as Go's decoder reads it into a structure.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::SelectionError;
use super::syntax::shown;
use crate::cni::RawMap;

/// An object and its place in the annotation.
pub(super) struct Object {
    place: String,
    map: RawMap,
}

impl Object {
    pub(super) fn read(raw: &RawValue, place: String) -> Result<Self, SelectionError> {
        match serde_json::from_str(raw.get()) {
            Ok(map) => Ok(Self { place, map }),
            Err(_) => Err(SelectionError::new(
                place,
                format!("{} is not an object", shown(raw.get())),
            )),
        }
    }

    /// The value of `key`; none where it is absent or null. The key may be written in another case (K-047), the exact
    /// one is preferred.
    pub(super) fn get<T: DeserializeOwned>(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, SelectionError> {
        let variant = || {
            self.map
                .iter()
                .find(|(other, _)| other.eq_ignore_ascii_case(key))
                .map(|(_, raw)| raw)
        };
        let Some(raw) = self.map.get(key).or_else(variant) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get())
            .map_err(|_| self.wrong(key, format!("{} is not {expected}", shown(raw.get()))))
    }

    /// The string at `key`; none where it is absent, null or empty.
    pub(super) fn string(&self, key: &str) -> Result<Option<String>, SelectionError> {
        Ok(self
            .get::<String>(key, "a string")?
            .filter(|text| !text.is_empty()))
    }

    /// The list at `key`, which must not be empty where it is there.
    pub(super) fn filled<T: DeserializeOwned>(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Vec<T>, SelectionError> {
        match self.get::<Vec<T>>(key, expected)? {
            Some(list) if list.is_empty() => Err(self.wrong(key, "[] is empty; leave the key out")),
            list => Ok(list.unwrap_or_default()),
        }
    }

    /// The place of `key`.
    pub(super) fn place(&self, key: &str) -> String {
        format!("{}, key {key:?}", self.place)
    }

    pub(super) fn wrong(&self, key: &str, why: impl Into<String>) -> SelectionError {
        SelectionError::new(self.place(key), why)
    }
}
