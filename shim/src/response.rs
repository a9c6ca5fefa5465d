//! Converts the daemon's HTTP response to a CNI result or error.

use plexus_api::cni::{CniError, Code, PluginResult, Verb, Version};
use plexus_api::wire;

use crate::http::HttpResponse;

/// The document to print: for ADD the result in `version` (P-067), for other verbs `None` (P-036).
///
/// # Errors
/// The daemon's error, with its code unchanged. [`Code::Internal`] if the response has no result, and
/// the code of the result's error if the result is invalid or cannot be converted.
pub fn document(
    response: &HttpResponse,
    verb: Verb,
    version: Version,
) -> Result<Option<String>, CniError> {
    if response.status != 200 {
        return Err(error(response));
    }
    if verb != Verb::Add {
        return Ok(None);
    }
    let response: wire::Response = serde_json::from_str(&String::from_utf8_lossy(&response.body))
        .map_err(|error| {
        CniError::new(
            Code::Internal,
            format!("plexusd responded to ADD without a result: {error}"),
        )
    })?;
    let result = PluginResult::from_checked(response.result)?.to_version(version)?;
    Ok(Some(result.raw().get().to_owned()))
}

/// The error in a response, whose body is an error object or plain text.
fn error(response: &HttpResponse) -> CniError {
    let text = String::from_utf8_lossy(&response.body);
    // Without this check, serde would also accept a list of the fields' values.
    let received = text
        .trim_start()
        .starts_with('{')
        .then(|| serde_json::from_str::<CniError>(&text).ok())
        .flatten()
        .unwrap_or_else(|| CniError::new(Code::Internal, text));
    let mut error = CniError::new(Code::Internal, received.msg).with_details(received.details);
    if received.code != 0 {
        error.code = received.code;
    }
    if error.msg.trim().is_empty() {
        error.msg = format!(
            "plexusd responded with HTTP {} and no message; see its log",
            response.status
        );
    }
    error
}
