//! Objects are JSON; this is how their metadata is reached.

use serde_json::{Map, Value};

/// A text of the metadata, empty where there is none.
pub fn meta<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"][key].as_str().unwrap_or_default()
}

/// The object's name.
pub fn name(object: &Value) -> &str {
    meta(object, "name")
}

/// The object's namespace, empty where it has none.
pub fn namespace(object: &Value) -> &str {
    meta(object, "namespace")
}

/// The object's resource version, 0 where it has none.
pub fn revision(object: &Value) -> u64 {
    meta(object, "resourceVersion").parse().unwrap_or_default()
}

/// Sets a text of the metadata.
pub fn set_meta(object: &mut Value, key: &str, value: impl Into<Value>) {
    metadata(object).insert(key.into(), value.into());
}

/// The metadata, made where there is none or where it is no object.
pub fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    section(object, "metadata")
}

/// A member of an object that is an object itself, made so where it is not.
pub fn section<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let member = &mut object[key];
    if !member.is_object() {
        *member = Value::Object(Map::new());
    }
    member.as_object_mut().expect("it was just made one")
}

/// Puts the member `key` of `from` into `to`, or takes it away where `from` has none.
pub fn keep(to: &mut Value, from: &Value, key: &str) {
    let Some(members) = to.as_object_mut() else {
        return;
    };
    match from.get(key) {
        Some(value) => members.insert(key.into(), value.clone()),
        None => members.remove(key),
    };
}

/// The same object with another resource version.
pub fn at_revision(object: &Value, revision: u64) -> Value {
    let mut object = object.clone();
    set_meta(&mut object, "resourceVersion", revision.to_string());
    object
}

/// A UUID made of random bits.
pub fn new_uid() -> String {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("Linux makes UUIDs");
    uuid.trim_end().to_owned()
}

/// What is appended to `generateName`: five characters out of those that form no words.
pub fn random_suffix() -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let bits =
        u128::from_str_radix(&new_uid().replace('-', ""), 16).expect("a UUID is hexadecimal");
    (0..5)
        .map(|place| {
            char::from(ALPHABET[usize::try_from((bits >> (place * 8)) & 0xff).unwrap_or(0) % 27])
        })
        .collect()
}

/// The time as Kubernetes writes it, in whole seconds.
pub fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
