//! The results that plugins print: their meaning, errors, and the text that is passed on.

mod fields;
mod indexes;
mod invalid;
mod random;
mod versions;

use plexus_api::cni::{CniError, PluginResult, Version};
use serde_json::Value;

fn parse(text: &str) -> PluginResult {
    PluginResult::parse(text.as_bytes(), Version::V1_0_0)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The error for this output of a plugin.
fn error(text: &[u8]) -> CniError {
    match PluginResult::parse(text, Version::V1_0_0) {
        Ok(result) => panic!("{text:?} was accepted as {result:?}"),
        Err(error) => error.into(),
    }
}

/// The message of the error for this output, which is not a result.
fn refused(text: &str) -> String {
    let error = error(text.as_bytes());
    assert_eq!(error.code, 6, "{text}: {error}");
    assert!(error.msg.contains("result"), "{text}: {error}");
    error.msg
}

fn raw(result: &PluginResult) -> Value {
    serde_json::from_str(result.raw().get()).expect("JSON")
}
