//! Reading keys: case-insensitively, with errors that name key, value and what is allowed.

use std::path::PathBuf;
use std::time::Duration;

use plexus_api::cni::{CniError, Code};
use plexus_api::duration;
use plexus_api::json::{Object, ObjectError};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Why a configuration cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// Not a JSON object.
    #[error(transparent)]
    Json(#[from] ObjectError),
    /// A key has a value that it cannot have.
    #[error("configuration key {key:?} is {value}, but must be {allowed}")]
    Value {
        /// The key, as Plexus spells it.
        key: String,
        /// What it is, as JSON, cut short.
        value: String,
        /// What it may be.
        allowed: String,
    },
}

impl From<FieldsError> for CniError {
    fn from(error: FieldsError) -> Self {
        let code = match error {
            FieldsError::Json(_) => Code::Decode,
            FieldsError::Value { .. } => Code::UnsupportedField,
        };
        Self::new(code, error.to_string())
    }
}

/// A JSON object whose values are read with errors that name the key.
#[derive(Debug, Clone, Default)]
pub struct Fields(Object);

impl Fields {
    /// Parses an object. A byte order mark before the object is ignored.
    pub fn parse(text: &str) -> Result<Self, FieldsError> {
        let text = text.trim_start_matches('\u{feff}');
        Ok(Self(Object::parse(text.as_bytes())?))
    }

    /// The keys of `self` and of `over`; those of `over` win.
    #[must_use]
    pub fn overlaid_by(mut self, over: &Self) -> Self {
        self.0.extend(over.0.clone());
        self
    }

    /// The keys, in lower case.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys()
    }

    /// Whether the key is there, be it null.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The raw value; none where the key is absent or null.
    pub fn raw(&self, key: &str) -> Option<&RawValue> {
        self.0.raw(key)
    }

    /// Gives a key another value.
    pub(super) fn set(&mut self, key: &str, value: Box<RawValue>) {
        self.0.insert(key, value);
    }

    /// A value of type `T`; `allowed` tells the reader what that is.
    pub fn get<T: DeserializeOwned>(
        &self,
        key: &str,
        allowed: &str,
    ) -> Result<Option<T>, FieldsError> {
        self.0.get(key).map_err(|raw| wrong(key, raw, allowed))
    }

    /// A text; an empty one counts as absent, as it does for Multus.
    pub fn text(&self, key: &str) -> Result<Option<String>, FieldsError> {
        self.0
            .string(key)
            .map_err(|raw| wrong(key, raw, "a string"))
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &str, default: bool) -> Result<bool, FieldsError> {
        Ok(self.get(key, "true or false")?.unwrap_or(default))
    }

    /// An absolute path.
    pub fn path(&self, key: &str, default: &str) -> Result<PathBuf, FieldsError> {
        let path = PathBuf::from(self.text(key)?.unwrap_or_else(|| default.to_owned()));
        match self.raw(key) {
            Some(raw) if !path.is_absolute() => Err(wrong(key, raw, "an absolute path")),
            _ => Ok(path),
        }
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>, FieldsError> {
        self.get(key, "a list of strings")
    }

    /// A duration, as `"30s"`.
    pub fn duration(&self, key: &str, default: Duration) -> Result<Duration, FieldsError> {
        let allowed = "a duration like \"30s\" or \"500ms\"";
        let Some(text) = self.get::<String>(key, allowed)? else {
            return Ok(default);
        };
        duration::parse(&text).map_err(|_| FieldsError::Value {
            key: key.to_owned(),
            value: format!("{text:?}"),
            allowed: allowed.to_owned(),
        })
    }

    /// A duration above 0.
    pub fn time(&self, key: &str, default: Duration) -> Result<Duration, FieldsError> {
        match (self.duration(key, default)?, self.raw(key)) {
            (Duration::ZERO, Some(raw)) => Err(wrong(
                key,
                raw,
                "a duration above 0, like \"30s\" or \"500ms\"",
            )),
            (duration, _) => Ok(duration),
        }
    }

    /// A whole number above 0.
    pub fn count(&self, key: &str) -> Result<Option<usize>, FieldsError> {
        let allowed = "a whole number above 0";
        match self.get::<usize>(key, allowed)? {
            Some(0) => Err(FieldsError::Value {
                key: key.to_owned(),
                value: "0".to_owned(),
                allowed: allowed.to_owned(),
            }),
            count => Ok(count),
        }
    }
}

impl From<Object> for Fields {
    fn from(object: Object) -> Self {
        Self(object)
    }
}

fn wrong(key: &str, raw: &RawValue, allowed: &str) -> FieldsError {
    // A value may be a whole object, or hold a secret in the wrong place: the beginning is enough to find it.
    let value: String = raw.get().chars().take(40).collect();
    FieldsError::Value {
        key: key.to_owned(),
        value,
        allowed: allowed.to_owned(),
    }
}
