//! The documents of a YAML or JSON file, read as `kubectl apply` reads them: by the rules of
//! libyaml, which the YAML reader of Kubernetes is a port of.

mod position;

use plexus_api::shorten;
use serde::Deserialize as _;
use serde_json::{Map, Value};

pub(crate) use position::{Position, position};

/// The key whose mapping, or mappings, are merged into the mapping that has the key.
const MERGE: &str = "<<";

/// The number of brackets that can be open at once. libyaml needs time in proportion to this number
/// for each token, and reports the depth of a document only after it has read all of it.
const MAX_OPEN_BRACKETS: usize = 1000;

/// Text that is not YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct YamlError {
    /// One line, with the position.
    pub(crate) reason: String,
    pub(crate) position: Option<Position>,
}

impl From<serde_yaml_ng::Error> for YamlError {
    fn from(error: serde_yaml_ng::Error) -> Self {
        Self {
            reason: shorten(&error.to_string()),
            position: error.location().map(Position::from),
        }
    }
}

/// All documents. Of several equal keys the last one counts.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_brackets(text)?;
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
        documents.push(merged(Value::deserialize(document)?));
    }
    Ok(documents)
}

/// Checks the depth of the text before the text is parsed. Counts brackets in strings and comments,
/// too, so the limit is far above the depth that a document can have.
fn check_brackets(text: &str) -> Result<(), YamlError> {
    let mut open = 0_usize;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > MAX_OPEN_BRACKETS {
            let line = text.as_bytes()[..index]
                .split(|byte| *byte == b'\n')
                .count();
            return Err(YamlError {
                reason: format!("more than {MAX_OPEN_BRACKETS} brackets are open at line {line}"),
                position: Some(Position { line, column: 1 }),
            });
        }
    }
    Ok(())
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
