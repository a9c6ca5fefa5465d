//! Typed access to configuration keys. Errors name the key, its value and the allowed values.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use plexus_api::json::{Object, ObjectError};
use plexus_api::{duration, quote};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// An invalid configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// The text is not a JSON object.
    #[error(transparent)]
    Json(#[from] ObjectError),
    /// The value of a key is not allowed.
    #[error("configuration key {key:?} is {value}, but must be {allowed}")]
    Value {
        /// The key, in its canonical spelling.
        key: String,
        /// The value as JSON, shortened.
        value: String,
        /// The allowed values.
        allowed: String,
    },
}

impl FieldsError {
    /// An error about a string value.
    pub(super) fn string(key: &str, value: &str, allowed: impl Into<String>) -> Self {
        Self::Value {
            key: key.to_owned(),
            value: quote(value).to_string(),
            allowed: allowed.into(),
        }
    }

    /// An error about a raw value.
    fn raw(key: &str, value: &RawValue, allowed: impl Into<String>) -> Self {
        Self::Value {
            key: key.to_owned(),
            // The value may be a misplaced secret. Its start is enough to find the key.
            value: value.get().chars().take(40).collect(),
            allowed: allowed.into(),
        }
    }
}

/// A JSON object of configuration keys.
#[derive(Debug, Clone, Default)]
pub struct Fields(Object);

impl Fields {
    /// Parses an object.
    pub fn parse(text: &str) -> Result<Self, FieldsError> {
        Ok(Self(Object::parse(text.as_bytes())?))
    }

    /// The keys of both objects. Values of `over` win.
    #[must_use]
    pub fn overlaid_by(mut self, over: &Self) -> Self {
        self.0.extend(over.0.clone());
        self
    }

    /// The keys; see [`fold_key`](plexus_api::json::fold_key).
    pub fn keys(&self) -> BTreeSet<String> {
        self.0.keys()
    }

    /// Whether the key is present, even if it is null.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The raw value. Returns `None` if the key is missing or null.
    pub fn raw(&self, key: &str) -> Option<&RawValue> {
        self.0.raw(key)
    }

    pub(super) fn set(&mut self, key: &str, value: Box<RawValue>) {
        self.0.insert(key, value);
    }

    /// A value of type `T`, which `allowed` describes.
    pub fn get<T: DeserializeOwned>(
        &self,
        key: &str,
        allowed: &str,
    ) -> Result<Option<T>, FieldsError> {
        self.0
            .get(key)
            .map_err(|value| FieldsError::raw(key, value, allowed))
    }

    /// A string. An empty one counts as missing, as in Multus.
    pub fn string(&self, key: &str) -> Result<Option<String>, FieldsError> {
        self.0
            .string(key)
            .map_err(|value| FieldsError::raw(key, value, "a string"))
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &str, default: bool) -> Result<bool, FieldsError> {
        Ok(self.get(key, "true or false")?.unwrap_or(default))
    }

    /// An absolute path.
    pub fn path(&self, key: &str, default: &str) -> Result<PathBuf, FieldsError> {
        Ok(self.optional_path(key)?.unwrap_or_else(|| default.into()))
    }

    /// An absolute path.
    pub fn optional_path(&self, key: &str) -> Result<Option<PathBuf>, FieldsError> {
        match (self.string(key)?.map(PathBuf::from), self.raw(key)) {
            (Some(path), Some(value)) if !path.is_absolute() => {
                Err(FieldsError::raw(key, value, "an absolute path"))
            }
            (path, _) => Ok(path),
        }
    }

    /// A list of strings.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<String>>, FieldsError> {
        self.get(key, "a list of strings")
    }

    /// A duration such as `"30s"`, at most [`duration::MAX`].
    pub fn duration(&self, key: &str, default: Duration) -> Result<Duration, FieldsError> {
        let duration = self.duration_up_to(key, duration::MAX)?;
        Ok(duration.unwrap_or(default))
    }

    /// A duration of at most `max`.
    pub fn duration_up_to(
        &self,
        key: &str,
        max: Duration,
    ) -> Result<Option<Duration>, FieldsError> {
        let allowed = format!(
            "a duration like \"30s\" or \"500ms\", at most {}h",
            max.as_secs() / 3600
        );
        self.get::<String>(key, &allowed)?
            .map(|text| {
                duration::parse_up_to(&text, max)
                    .map_err(|_| FieldsError::string(key, &text, allowed))
            })
            .transpose()
    }

    /// A duration above 0, at most [`duration::MAX`].
    pub fn positive_duration(&self, key: &str, default: Duration) -> Result<Duration, FieldsError> {
        match (self.duration(key, default)?, self.raw(key)) {
            (Duration::ZERO, Some(value)) => {
                let allowed = "a duration above 0, like \"30s\" or \"500ms\"";
                Err(FieldsError::raw(key, value, allowed))
            }
            (duration, _) => Ok(duration),
        }
    }

    /// An integer from 1 to `max`.
    pub fn positive_integer(&self, key: &str, max: usize) -> Result<Option<usize>, FieldsError> {
        let allowed = format!("a whole number from 1 to {max}");
        match (self.get(key, &allowed)?, self.raw(key)) {
            (Some(integer), Some(value)) if integer == 0 || integer > max => {
                Err(FieldsError::raw(key, value, allowed))
            }
            (integer, _) => Ok(integer),
        }
    }
}

impl From<Object> for Fields {
    fn from(object: Object) -> Self {
        Self(object)
    }
}
