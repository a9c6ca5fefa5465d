//! JSON objects with raw values.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A JSON object with raw values and case-sensitive keys.
pub type RawMap = BTreeMap<String, Box<RawValue>>;

/// The error of text that is not a JSON object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object: {0}")]
pub struct ObjectError(String);

/// Parses a JSON object into `T`, a map.
///
/// # Errors
/// A message with the position of the syntax error. The message never quotes the text, which may
/// contain a secret (P-047).
pub fn parse_object<T: DeserializeOwned>(text: &str) -> Result<T, ObjectError> {
    serde_json::from_str(text).map_err(|error| {
        // Syntax errors only have a position, but type errors quote the value.
        ObjectError(if error.is_data() {
            "the value has another type".to_owned()
        } else {
            error.to_string()
        })
    })
}

/// Whether Go's decoder maps both keys to the same field of a struct.
pub fn keys_match(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// A JSON object as Go's decoder reads it into a struct: keys match in any case, and if a key is
/// present in several spellings, the last one in the text wins (decision 38).
#[derive(Debug, Clone, Default)]
pub struct Object(RawMap);

impl Object {
    /// Parses a JSON object.
    ///
    /// # Errors
    /// The text is not a JSON object; see [`parse_object`].
    pub fn parse(text: &[u8]) -> Result<Self, ObjectError> {
        let text = std::str::from_utf8(text).map_err(|error| ObjectError(error.to_string()))?;
        parse_object(text)
    }

    /// The raw value of `key`. Returns `None` if the key is missing or null.
    pub fn raw(&self, key: &str) -> Option<&RawValue> {
        self.0
            .get(&key.to_ascii_lowercase())
            .map(AsRef::as_ref)
            .filter(|raw| raw.get() != "null")
    }

    /// The value of `key`. Returns `None` if the key is missing or null.
    ///
    /// # Errors
    /// The raw value, if it is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, &RawValue> {
        self.raw(key)
            .map(|raw| serde_json::from_str(raw.get()).map_err(|_| raw))
            .transpose()
    }

    /// The string at `key`. Returns `None` if the key is missing or null, or the string empty.
    ///
    /// # Errors
    /// The raw value, if it is not a string.
    pub fn string(&self, key: &str) -> Result<Option<String>, &RawValue> {
        Ok(self.get(key)?.filter(|text: &String| !text.is_empty()))
    }

    /// Whether `key` is present, even if it is null.
    pub fn contains_key(&self, key: &str) -> bool {
        self.0.contains_key(&key.to_ascii_lowercase())
    }

    /// The keys, in lower case.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Sets `key`. Replaces its value in every spelling.
    pub fn insert(&mut self, key: &str, value: Box<RawValue>) {
        self.0.insert(key.to_ascii_lowercase(), value);
    }

    /// Sets all keys of `other`.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut object = Object::default();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    object.insert(&key, value);
                }
                Ok(object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[cfg(test)]
mod tests;
