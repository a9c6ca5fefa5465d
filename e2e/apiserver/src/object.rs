//! Access to the metadata of objects, which are plain JSON.

use std::fs;

use serde_json::{Map, Value};

/// A text field of the metadata; empty if missing.
pub fn metadata_text<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"][key].as_str().unwrap_or_default()
}

/// The object's name; empty if missing.
pub fn name(object: &Value) -> &str {
    metadata_text(object, "name")
}

/// The object's namespace; empty if missing.
pub fn namespace(object: &Value) -> &str {
    metadata_text(object, "namespace")
}

/// The object's resource version; 0 if missing.
pub fn resource_version(object: &Value) -> u64 {
    metadata_text(object, "resourceVersion")
        .parse()
        .unwrap_or_default()
}

pub fn set_resource_version(object: &mut Value, resource_version: u64) {
    set_metadata(object, "resourceVersion", resource_version.to_string());
}

/// Sets a field of the metadata.
pub fn set_metadata(object: &mut Value, key: &str, value: impl Into<Value>) {
    metadata_mut(object).insert(key.into(), value.into());
}

/// The metadata. Replaced by an empty object if it is missing or not an object.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    section_mut(object, "metadata")
}

/// A field that is an object itself. Replaced by an empty object if it is missing or not an object.
pub fn section_mut<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let member = &mut object[key];
    if !member.is_object() {
        *member = Value::Object(Map::new());
    }
    member
        .as_object_mut()
        .expect("the member must be an object")
}

/// Copies the field `key` of `from` to `to`. Removes it from `to` if `from` does not have it.
pub fn copy_field(to: &mut Value, from: &Value, key: &str) {
    let Some(fields) = to.as_object_mut() else {
        return;
    };
    match from.get(key) {
        Some(value) => fields.insert(key.into(), value.clone()),
        None => fields.remove(key),
    };
}

/// A random UUID.
pub fn new_uid() -> String {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")
        .expect("the kernel must provide random UUIDs");
    uuid.trim_end().to_owned()
}

/// The suffix for `generateName`: five characters from the alphabet of Kubernetes, which has no
/// vowels.
pub fn random_suffix() -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let bits =
        u128::from_str_radix(&new_uid().replace('-', ""), 16).expect("a UUID must be hexadecimal");
    (0..5)
        .map(|place| {
            char::from(ALPHABET[usize::try_from((bits >> (place * 8)) & 0xff).unwrap_or(0) % 27])
        })
        .collect()
}

/// The current time in the format of `metav1.Time`, in whole seconds.
pub fn timestamp() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Ten random characters that are valid in an object's name.
pub fn random_name() -> String {
    random_suffix() + &random_suffix()
}
