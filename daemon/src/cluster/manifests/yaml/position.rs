//! The positions of values in a YAML file.
//!
//! The YAML reader reports positions only in errors. A value is therefore looked up by reading the
//! document again, with an error at the value.

use std::fmt;

use plexus_api::json::PathStep;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A position in a file. Lines and columns are counted from 1, and columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

impl From<serde_yaml_ng::Location> for Position {
    fn from(location: serde_yaml_ng::Location) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
        }
    }
}

/// The position of the value at `path` in a document, or with `of_key` of the key of that value.
/// Returns `None` if the document has no such value, or gets it by a merge key.
pub(crate) fn position(
    text: &str,
    document: usize,
    path: &[PathStep],
    of_key: bool,
) -> Option<Position> {
    let mut documents = serde_yaml_ng::Deserializer::from_str(text);
    let search = Search { path, of_key };
    let found = search.deserialize(documents.nth(document)?).err()?;
    found.location().map(Position::from)
}

/// Fails at the value that is searched.
#[derive(Clone, Copy)]
struct Search<'a> {
    path: &'a [PathStep],
    of_key: bool,
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            deserializer.deserialize_any(Found)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((PathStep::Key(wanted), rest)) = self.path.split_first() else {
            return IgnoredAny.visit_map(map).map(|_| ());
        };
        let is_key_searched = self.of_key && rest.is_empty();
        let key = Key {
            wanted,
            is_searched: is_key_searched,
        };
        while let Some(is_wanted) = map.next_key_seed(key)? {
            if is_wanted {
                map.next_value_seed(Search { path: rest, ..self })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((PathStep::Item(wanted), rest)) = self.path.split_first() else {
            return IgnoredAny.visit_seq(list).map(|_| ());
        };
        for _ in 0..*wanted {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        list.next_element_seed(Search { path: rest, ..self })?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Compares a key, or fails at it.
#[derive(Clone, Copy)]
struct Key<'a> {
    wanted: &'a str,
    is_searched: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        match key == self.wanted {
            true if self.is_searched => Err(E::custom("the key is here")),
            is_wanted => Ok(is_wanted),
        }
    }
}

/// Fails at any value: no method of the visitor accepts one.
struct Found;

impl Visitor<'_> for Found {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no value")
    }
}
