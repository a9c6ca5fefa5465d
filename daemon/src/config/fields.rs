//! Typed access to configuration keys. Errors name the key, its value and the allowed values.

use std::path::PathBuf;
use std::time::Duration;

use plexus_api::duration;
use plexus_api::json::{Object, ObjectError};
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
            value: format!("{value:?}"),
            allowed: allowed.into(),
        }
    }

    /// An error about a raw value.
    fn raw(key: &str, value: &RawValue, allowed: impl Into<String>) -> Self {
        Self::Value {
            key: key.to_owned(),
            // The value may be a large object or a misplaced secret. Its start is enough to find
            // the key.
            value: value.get().chars().take(40).collect(),
            allowed: allowed.into(),
        }
    }
}

/// A JSON object of configuration keys.
#[derive(Debug, Clone, Default)]
pub struct Fields(Object);

impl Fields {
    /// Parses an object. A byte order mark before the object is ignored.
    pub fn parse(text: &str) -> Result<Self, FieldsError> {
        let text = text.trim_start_matches('\u{feff}');
        Ok(Self(Object::parse(text.as_bytes())?))
    }

    /// The keys of both objects. Values of `over` win.
    #[must_use]
    pub fn overlaid_by(mut self, over: &Self) -> Self {
        self.0.extend(over.0.clone());
        self
    }

    /// The keys, in lower case.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
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

    /// A duration such as `"30s"`.
    pub fn duration(&self, key: &str, default: Duration) -> Result<Duration, FieldsError> {
        let allowed = "a duration like \"30s\" or \"500ms\"";
        match self.get::<String>(key, allowed)? {
            None => Ok(default),
            Some(text) => {
                duration::parse(&text).map_err(|_| FieldsError::string(key, &text, allowed))
            }
        }
    }

    /// A duration above 0.
    pub fn positive_duration(&self, key: &str, default: Duration) -> Result<Duration, FieldsError> {
        match (self.duration(key, default)?, self.raw(key)) {
            (Duration::ZERO, Some(value)) => {
                let allowed = "a duration above 0, like \"30s\" or \"500ms\"";
                Err(FieldsError::raw(key, value, allowed))
            }
            (duration, _) => Ok(duration),
        }
    }

    /// An integer above 0.
    pub fn positive_integer(&self, key: &str) -> Result<Option<usize>, FieldsError> {
        let allowed = "a whole number above 0";
        match (self.get(key, allowed)?, self.raw(key)) {
            (Some(0), Some(value)) => Err(FieldsError::raw(key, value, allowed)),
            (integer, _) => Ok(integer),
        }
    }
}

impl From<Object> for Fields {
    fn from(object: Object) -> Self {
        Self(object)
    }
}
