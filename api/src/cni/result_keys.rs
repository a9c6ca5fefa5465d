//! The keys of results.
//!
//! Runtimes and plugins written in Go match the keys of a result in any case. Plexus checks keys by
//! their exact spelling and passes on the plugin's text, so keys in another spelling are renamed
//! before anything is checked.

use serde_json::value::{RawValue, to_raw_value};

use super::ResultError;
use crate::json::{Object, keys_match};

/// The keys of an object, each with those of its value: an object or a list of objects.
struct Keys(&'static [(&'static str, &'static Keys)]);

/// Any other value.
const VALUE: &Keys = &Keys(&[]);

const RESULT: &Keys = &Keys(&[
    ("cniVersion", VALUE),
    ("interfaces", INTERFACE),
    ("ips", IP),
    ("routes", ROUTE),
    ("dns", DNS),
    ("ip4", IP_CONFIG),
    ("ip6", IP_CONFIG),
]);

const INTERFACE: &Keys = &Keys(&[
    ("name", VALUE),
    ("mac", VALUE),
    ("mtu", VALUE),
    ("sandbox", VALUE),
    ("socketPath", VALUE),
    ("pciID", VALUE),
]);

const IP: &Keys = &Keys(&[
    ("version", VALUE),
    ("interface", VALUE),
    ("address", VALUE),
    ("gateway", VALUE),
]);

const ROUTE: &Keys = &Keys(&[
    ("dst", VALUE),
    ("gw", VALUE),
    ("mtu", VALUE),
    ("advmss", VALUE),
    ("priority", VALUE),
    ("table", VALUE),
    ("scope", VALUE),
]);

const DNS: &Keys = &Keys(&[
    ("nameservers", VALUE),
    ("domain", VALUE),
    ("search", VALUE),
    ("options", VALUE),
]);

/// `ip4` and `ip6` of versions 0.1.0 and 0.2.0.
const IP_CONFIG: &Keys = &Keys(&[("ip", VALUE), ("gateway", VALUE), ("routes", ROUTE)]);

/// Renames the keys of a result to their exact spelling. Returns `None` if there is nothing to
/// rename.
///
/// # Errors
/// A key is present twice (T-012).
pub(super) fn rename(result: &RawValue) -> Result<Option<Box<RawValue>>, ResultError> {
    rename_in(result, RESULT)
}

fn rename_in(raw: &RawValue, Keys(keys): &Keys) -> Result<Option<Box<RawValue>>, ResultError> {
    if keys.is_empty() {
        return Ok(None);
    }
    // A value of another type has no keys, and is refused later.
    if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
        return rename_in_list(&elements, &Keys(keys));
    }
    let Ok(object) = serde_json::from_str::<Object>(raw.get()) else {
        return Ok(None);
    };
    let mut renamed = false;
    let mut seen = Vec::new();
    let mut members = Vec::new();
    for (mut name, mut value) in object {
        if let Some((key, inner)) = keys.iter().find(|(key, _)| keys_match(key, &name)) {
            if seen.contains(key) {
                return Err(ResultError::Invalid(format!(
                    "key {key:?} is present twice"
                )));
            }
            seen.push(*key);
            if name != *key {
                (*key).clone_into(&mut name);
                renamed = true;
            }
            if let Some(inner) = rename_in(&value, inner)? {
                value = inner;
                renamed = true;
            }
        }
        members.push((name, value));
    }
    renamed
        .then(|| write(&Object::from_iter(members)))
        .transpose()
}

fn rename_in_list(
    elements: &[&RawValue],
    keys: &Keys,
) -> Result<Option<Box<RawValue>>, ResultError> {
    let renamed: Vec<_> = elements
        .iter()
        .map(|element| rename_in(element, keys))
        .collect::<Result<_, _>>()?;
    if renamed.iter().all(Option::is_none) {
        return Ok(None);
    }
    let elements: Vec<_> = renamed
        .iter()
        .zip(elements)
        .map(|(renamed, element)| renamed.as_deref().unwrap_or(element))
        .collect();
    write(&elements).map(Some)
}

fn write<T: serde::Serialize>(value: &T) -> Result<Box<RawValue>, ResultError> {
    to_raw_value(value).map_err(|error| ResultError::Write(error.to_string()))
}
