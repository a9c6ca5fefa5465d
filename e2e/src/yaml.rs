//! Helpers for YAML documents, read as Kubernetes reads them.

use serde::Deserialize as _;
use serde_json::Value;

/// The documents of `text`, without empty ones.
///
/// # Errors
/// The text is not YAML.
pub fn documents(text: &str) -> serde_yaml_ng::Result<Vec<Value>> {
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let document = Value::deserialize(document)?;
        if !document.is_null() {
            documents.push(document);
        }
    }
    Ok(documents)
}
