//! JSON objects with raw values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{decode, fold_key, keys_match};

/// A JSON object with raw values and case-sensitive keys, as a map in Go.
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

/// A JSON object as Go's decoder reads it into a struct. Keys keep their spelling and their order.
#[derive(Debug, Clone, Default)]
pub struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// Parses a JSON object; see [`decode`].
    ///
    /// # Errors
    /// The text is not a JSON object; see [`parse_object`].
    pub fn parse(text: &[u8]) -> Result<Self, ObjectError> {
        parse_object(&decode(text))
    }

    /// The raw value of `key`. Returns `None` if the key is missing or null.
    pub fn raw(&self, key: &str) -> Option<&RawValue> {
        last_value(self.0.iter().map(|(key, raw)| (key, raw)), key)
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

    /// How often `key` is present, in any spelling and with any value.
    pub fn count(&self, key: &str) -> usize {
        let matches = |(other, _): &&(String, _)| keys_match(other, key);
        self.0.iter().filter(matches).count()
    }

    /// Whether `key` is present, even if it is null.
    pub fn contains_key(&self, key: &str) -> bool {
        self.count(key) > 0
    }

    /// The keys; see [`fold_key`].
    pub fn keys(&self) -> BTreeSet<String> {
        self.0.iter().map(|(key, _)| fold_key(key)).collect()
    }

    /// Sets `key`. Replaces its value in every spelling.
    pub fn insert(&mut self, key: &str, value: Box<RawValue>) {
        self.remove(key);
        self.0.push((key.to_owned(), value));
    }

    /// Removes `key` in every spelling.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(other, _)| !keys_match(other, key));
    }

    /// Sets all keys of `other`.
    pub fn extend(&mut self, other: Self) {
        let replaced = other.keys();
        self.0.retain(|(key, _)| !replaced.contains(&fold_key(key)));
        self.0.extend(other.0);
    }

    /// The keys and values as written. Of equal keys, the last one is kept.
    pub fn into_map(self) -> RawMap {
        self.0.into_iter().collect()
    }
}

/// The last value of `key` in `members` that is not null.
pub(crate) fn last_value<'a>(
    members: impl DoubleEndedIterator<Item = (&'a String, &'a Box<RawValue>)>,
    key: &str,
) -> Option<&'a RawValue> {
    members
        .rev()
        .find(|(other, raw)| raw.get() != "null" && keys_match(other, key))
        .map(|(_, raw)| raw.as_ref())
}

impl IntoIterator for Object {
    type Item = (String, Box<RawValue>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    /// The keys and values as written, in their order.
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<(String, Box<RawValue>)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Box<RawValue>)>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, raw)| (key, raw)))
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
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[cfg(test)]
mod tests;
