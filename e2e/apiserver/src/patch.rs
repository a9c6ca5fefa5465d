//! The patches that the server applies: JSON merge patch, JSON patch, and strategic merge as far as maps go.

use serde_json::Value;

use super::refusal::Refusal;

const CUSTOM: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
const BUILT_IN: &str = "application/json-patch+json, application/merge-patch+json, \
                        application/strategic-merge-patch+json, application/apply-patch+yaml";

/// Applies the patch `body` of this type to `object`.
///
/// # Errors
/// 415 for server-side apply, for a strategic merge that merges lists, and for anything else; 400 for what is no
/// patch, 422 for one that cannot be applied.
pub fn apply(
    media_type: &str,
    custom: bool,
    body: &[u8],
    object: &mut Value,
) -> Result<(), Refusal> {
    let unsupported = || Refusal::unsupported_media_type(if custom { CUSTOM } else { BUILT_IN });
    match media_type {
        "application/merge-patch+json" => merge(&parse(body)?, object),
        "application/strategic-merge-patch+json" if !custom => {
            let patch = parse(body)?;
            if merges_lists(&patch) {
                return Err(unsupported());
            }
            merge(&patch, object)
        }
        "application/json-patch+json" => {
            let patch: json_patch::Patch = serde_json::from_slice(body)
                .map_err(|error| Refusal::bad_request(&format!("error decoding patch: {error}")))?;
            json_patch::patch(object, &patch).map_err(|_| Refusal::unprocessable())
        }
        _ => Err(unsupported()),
    }
}

fn parse(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(&format!("error decoding patch: {error}")))
}

fn merge(patch: &Value, object: &mut Value) -> Result<(), Refusal> {
    if !patch.is_object() {
        return Err(Refusal::bad_request(
            "error decoding patch: it is no JSON object",
        ));
    }
    json_patch::merge(object, patch);
    Ok(())
}

/// Whether a strategic merge patch needs the schema: it has a list, or a directive.
fn merges_lists(patch: &Value) -> bool {
    match patch {
        Value::Array(_) => true,
        Value::Object(members) => members
            .iter()
            .any(|(key, value)| key.starts_with('$') || merges_lists(value)),
        _ => false,
    }
}
