//! Query parameters.

use std::collections::BTreeMap;

use crate::status_error::StatusError;

/// The query of a request.
#[derive(Debug, Clone, Default)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Parses a query string. The first value of a repeated parameter wins.
    pub fn parse(query: Option<&str>) -> Self {
        let mut parameters = BTreeMap::new();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            parameters
                .entry(key.into_owned())
                .or_insert_with(|| value.into_owned());
        }
        Self(parameters)
    }

    /// A parameter as text; empty if missing.
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// A Boolean parameter. Returns `None` if missing.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.0
            .get(key)
            .map(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }

    /// A numeric parameter. Returns `None` if missing or not a number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.text(key).parse().ok()
    }

    /// The parameter `resourceVersion`; 0 if missing.
    ///
    /// # Errors
    /// 400 if the value is not a number.
    pub fn resource_version(&self) -> Result<u64, StatusError> {
        let text = self.text("resourceVersion");
        if text.is_empty() {
            return Ok(0);
        }
        text.parse().map_err(|error| {
            StatusError::bad_request(&format!(
                "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: {error}"
            ))
        })
    }
}
