//! The places of values in a JSON text.

use std::fmt;

use plexus_api::json::{PathStep, keys_match};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The keys and values of an object, in their order.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The members of an object; none if the text is not an object.
pub(super) fn members(text: &str) -> Vec<(String, &RawValue)> {
    serde_json::from_str(text).map_or_else(|_| Vec::new(), |Members(members)| members)
}

/// The items of a list; none if the text is not a list.
pub(super) fn items(text: &str) -> Vec<&RawValue> {
    serde_json::from_str(text).unwrap_or_default()
}

/// The value at `path`, a part of `text`. Keys match as in Go, and the last one counts.
pub(super) fn value<'a>(text: &'a str, path: &[PathStep]) -> Option<&'a str> {
    let Some((step, rest)) = path.split_first() else {
        return Some(text.trim());
    };
    let inner = match step {
        PathStep::Key(key) => {
            let mut members = members(text).into_iter().rev();
            members.find(|(other, _)| keys_match(other, key))?.1
        }
        PathStep::Item(index) => *items(text).get(*index)?,
    };
    value(inner.get(), rest)
}

/// The position of `part` in `text`, in bytes. `part` must be a part of `text`.
pub(super) fn offset(text: &str, part: &str) -> usize {
    let offset = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    offset.min(text.len())
}

/// The position of the key of `value`, a part of `text`. Returns `None` if the value has no key.
pub(super) fn key_offset(text: &str, value: &str) -> Option<usize> {
    let before = text[..offset(text, value)].trim_end().strip_suffix(':')?;
    let before = before.trim_end().strip_suffix('"')?;
    // A quote in a key is escaped.
    let mut quotes = before.rmatch_indices('"').map(|(at, _)| at);
    quotes.find(|at| !before[..*at].ends_with('\\'))
}

/// The position of the first syntax error, in bytes.
pub(super) fn syntax_error(text: &str) -> Option<usize> {
    let error = serde_json::from_str::<IgnoredAny>(text).err()?;
    let lines = text.split_inclusive('\n');
    let before: usize = lines
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    Some((before + error.column().saturating_sub(1)).min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_keys_have_a_place() {
        let text = r#"{"a": [1, {"B" : "x"}], "q\"": 2}"#;
        let path = ["a".into(), 1.into(), "b".into()];
        let found = value(text, &path).expect("a value");
        assert_eq!(found, r#""x""#);
        assert_eq!(offset(text, found), 17);
        assert_eq!(key_offset(text, found), Some(11));
        let quoted = value(text, &["q\"".into()]).expect("a value");
        assert_eq!(key_offset(text, quoted), Some(24));
        assert_eq!(value(text, &["a".into(), 2.into()]), None);
        assert_eq!(syntax_error("{\n \"a\": x}"), Some(8));
        assert_eq!(syntax_error(text), None);
    }
}
