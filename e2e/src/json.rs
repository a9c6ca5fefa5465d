//! Helpers for JSON documents.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::Node;

/// `object` with these keys set. `null` removes a key.
pub fn with_keys(mut object: Value, keys: Value) -> Value {
    let (Value::Object(map), Value::Object(keys)) = (&mut object, keys) else {
        panic!("not JSON objects")
    };
    map.extend(keys);
    map.retain(|_, value| !value.is_null());
    object
}

impl Node {
    /// Writes a JSON file in the scratch directory of the node and returns its path.
    pub fn write_json(&self, name: &str, value: &Value) -> PathBuf {
        let path = self.scratch().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("create the directory");
        fs::write(&path, value.to_string()).expect("write the file");
        path
    }
}
