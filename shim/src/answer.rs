//! What the daemon's answer means to the runtime.

use plexus_api::cni::{CniError, Code, PluginResult, Verb, Version};
use plexus_api::wire;

use crate::http::Answer;

/// The document to print for a success: the result in `version` for ADD (P-067), nothing for the others (P-036).
///
/// # Errors
/// The daemon's error, its code unchanged; or the answer is not one.
pub fn document(answer: &Answer, verb: Verb, version: Version) -> Result<Option<String>, CniError> {
    if answer.status != 200 {
        return Err(error(answer));
    }
    if verb != Verb::Add {
        return Ok(None);
    }
    let response: wire::Response = serde_json::from_str(&String::from_utf8_lossy(&answer.body))
        .map_err(|error| {
            CniError::new(
                Code::Internal,
                format!("plexusd answered ADD without a result: {error}"),
            )
        })?;
    let result = PluginResult::parse(response.result.get().as_bytes(), Version::LATEST)?
        .to_version(version)?;
    Ok(Some(result.raw().get().to_owned()))
}

/// The error in an answer: an error object, or text.
fn error(answer: &Answer) -> CniError {
    let text = String::from_utf8_lossy(&answer.body);
    // Without the brace a list would do, whose first element were the code.
    let object = text
        .trim_start()
        .starts_with('{')
        .then(|| serde_json::from_str(&text).ok())
        .flatten();
    let theirs: CniError = object.unwrap_or_else(|| CniError::new(Code::Internal, text));
    let mut error = CniError::new(Code::Internal, theirs.msg).with_details(theirs.details);
    if theirs.code != 0 {
        error.code = theirs.code;
    }
    if error.msg.trim().is_empty() {
        error.msg = format!(
            "plexusd answered HTTP {} without saying why; see its log",
            answer.status
        );
    }
    error
}
