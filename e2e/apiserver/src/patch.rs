//! Patches: JSON merge patch, JSON patch, and strategic merge patch without lists.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::status_error::StatusError;

const CUSTOM_MEDIA_TYPES: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
const BUILT_IN_MEDIA_TYPES: &str = "application/json-patch+json, application/merge-patch+json, \
                        application/strategic-merge-patch+json, application/apply-patch+yaml";

/// Applies the patch `body` to `object`. `custom` is whether the object is a custom resource.
///
/// # Errors
/// 415 for a media type that the server does not support, including server-side apply and strategic
/// merge patches of lists; 400 for a malformed patch; 422 for a patch that cannot be applied.
pub fn apply(
    media_type: &str,
    custom: bool,
    body: &[u8],
    object: &mut Value,
) -> Result<(), StatusError> {
    let unsupported = || {
        StatusError::unsupported_media_type(if custom {
            CUSTOM_MEDIA_TYPES
        } else {
            BUILT_IN_MEDIA_TYPES
        })
    };
    match media_type {
        "application/merge-patch+json" => merge(&parse(body)?, object),
        "application/strategic-merge-patch+json" if !custom => {
            let patch = parse(body)?;
            if needs_schema(&patch) {
                return Err(unsupported());
            }
            merge(&patch, object)
        }
        "application/json-patch+json" => {
            let patch: json_patch::Patch = parse(body)?;
            json_patch::patch(object, &patch).map_err(|_| StatusError::patch_failed())
        }
        _ => Err(unsupported()),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, StatusError> {
    serde_json::from_slice(body)
        .map_err(|error| StatusError::bad_request(&format!("error decoding patch: {error}")))
}

fn merge(patch: &Value, object: &mut Value) -> Result<(), StatusError> {
    if !patch.is_object() {
        return Err(StatusError::bad_request(
            "error decoding patch: not a JSON object",
        ));
    }
    json_patch::merge(object, patch);
    Ok(())
}

/// Whether a strategic merge patch needs the schema of the object because it has a list or a
/// directive.
fn needs_schema(patch: &Value) -> bool {
    match patch {
        Value::Array(_) => true,
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.starts_with('$') || needs_schema(value)),
        _ => false,
    }
}
