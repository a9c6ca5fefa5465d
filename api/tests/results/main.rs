//! The results that plugins print: their meaning, errors, and the text that is passed on.

mod fields;
mod indexes;
mod invalid;
mod random;
mod versions;

use plexus_api::cni::{PluginResult, Version};
use serde_json::Value;

fn parse(text: &str) -> PluginResult {
    PluginResult::parse(text.as_bytes(), Version::V1_0_0)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    match PluginResult::parse(text.as_bytes(), Version::V1_0_0) {
        Ok(result) => panic!("{text} was accepted as {result:?}"),
        Err(error) => {
            assert_eq!(error.code, 6, "{text}: {error}");
            assert!(error.msg.contains("result"), "{text}: {error}");
            error.msg
        }
    }
}

fn raw(result: &PluginResult) -> Value {
    serde_json::from_str(result.raw().get()).expect("JSON")
}
