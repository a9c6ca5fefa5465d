//! Keys that switch a feature off or on.

use super::fields::{Fields, FieldsError};

/// The value of a key that switches a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// The feature costs nothing: no request, no watch, no task.
    Off,
    On,
}

impl Switch {
    /// Reads the key. The default is [`Switch::Off`].
    pub(super) fn read(fields: &Fields, key: &'static str) -> Result<Self, FieldsError> {
        match fields.string(key)?.as_deref() {
            None | Some("off") => Ok(Self::Off),
            Some("on") => Ok(Self::On),
            Some(other) => Err(FieldsError::string(key, other, "\"off\" or \"on\"")),
        }
    }
}
