//! The documents of a YAML or JSON file, read as `kubectl apply` reads them: by the rules of libyaml,
//! which the YAML reader of Kubernetes is a port of.

use plexus_api::shorten;
use serde::Deserialize as _;
use serde_json::{Map, Value};

/// The key whose mapping, or mappings, are merged into the mapping that has the key.
const MERGE: &str = "<<";

/// All documents. Of several equal keys the last one counts. An error is one line, with the
/// position.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // YAML has other escapes in strings than JSON.
    if text.trim_start().starts_with('{')
        && let Ok(documents) = serde_json::Deserializer::from_str(text)
            .into_iter()
            .collect()
    {
        return Ok(documents);
    }
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let document = Value::deserialize(document).map_err(|error| shorten(&error.to_string()))?;
        documents.push(merged(document));
    }
    Ok(documents)
}

/// The value with its merge keys applied. Keys of the mapping itself take precedence.
fn merged(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(merged).collect(),
        Value::Object(mut object) => {
            let sources = match object.remove(MERGE) {
                Some(Value::Array(sources)) => sources,
                Some(source) => vec![source],
                None => Vec::new(),
            };
            let mut result: Map<String, Value> = object
                .into_iter()
                .map(|(key, value)| (key, merged(value)))
                .collect();
            for source in sources {
                if let Value::Object(source) = merged(source) {
                    for (key, value) in source {
                        result.entry(key).or_insert(value);
                    }
                }
            }
            Value::Object(result)
        }
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests;
