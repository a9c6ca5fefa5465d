//! `dra`: dynamic resource allocation.

use super::fields::{Fields, FieldsError};

/// Whether networks get the devices of claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dra {
    /// Nothing of the API is watched or read.
    Off,
    /// `ResourceSlices` are watched, and claims are read if needed.
    On,
}

impl Dra {
    pub(super) fn read(fields: &Fields) -> Result<Self, FieldsError> {
        const KEY: &str = "dra";
        match fields.string(KEY)?.as_deref() {
            None | Some("off") => Ok(Self::Off),
            Some("on") => Ok(Self::On),
            Some(other) => Err(FieldsError::string(KEY, other, "\"off\" or \"on\"")),
        }
    }
}
