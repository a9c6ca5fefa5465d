//! The result of a plugin's ADD, raw and parsed.

use std::fmt;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::result::{CniResult, Ip, ResultError};
use super::{Version, convert, result_keys};
use crate::json::{RawMap, check_result, decode};
use crate::shorten;

/// A plugin's result. The raw JSON is kept, so that unknown keys are passed on (T-009).
#[derive(Debug, Clone)]
pub struct PluginResult {
    version: Version,
    raw: Box<RawValue>,
    result: CniResult,
}

impl PluginResult {
    /// Parses the output of ADD. A result without a `cniVersion` has `config_version` (T-003).
    /// `{}` and `null` are empty results (T-004).
    pub fn parse(text: &[u8], config_version: Version) -> Result<Self, ResultError> {
        check_result(text)?;
        if text.trim_ascii().is_empty() {
            return Err(ResultError::Empty);
        }
        let text = decode(text);
        let received: &RawValue = serde_json::from_str(&text).map_err(invalid)?;
        let renamed = result_keys::rename(received)?;
        let text = renamed.as_deref().unwrap_or(received).get();
        let mut map = serde_json::from_str::<Option<RawMap>>(text)
            .map_err(invalid)?
            .unwrap_or_default();
        let declared = declared_version(&map)?;
        let version = declared.unwrap_or(config_version);
        let mut result = convert::parse(text, version).map_err(invalid)?;
        result.remove_invalid_indexes();
        let mut changed = remove_invalid_indexes(&mut map, &result.ips)?;
        if declared.is_none() {
            map.insert("cniVersion".to_owned(), json(&version)?);
            changed = true;
        }
        // Older plugins print an empty `dns`; since 1.0.0 an empty one is omitted (T-011).
        if version >= Version::V1_0_0 && result.dns.is_empty() {
            changed |= map.remove("dns").is_some();
        }
        let raw = if changed {
            json(&map)?
        } else {
            RawValue::from_string(text.to_owned()).map_err(invalid)?
        };
        Ok(Self {
            version,
            raw,
            result,
        })
    }

    /// Reads the raw JSON of a result that [`PluginResult::parse`] has checked.
    ///
    /// # Errors
    /// The JSON is not such a result, or has no `cniVersion`.
    pub fn from_checked(raw: Box<RawValue>) -> Result<Self, ResultError> {
        let map = serde_json::from_str(raw.get()).map_err(invalid)?;
        let version = declared_version(&map)?.ok_or_else(|| invalid("cniVersion is missing"))?;
        let result = convert::parse(raw.get(), version).map_err(invalid)?;
        Ok(Self {
            version,
            raw,
            result,
        })
    }

    /// Converts `result` to `version`.
    ///
    /// # Errors
    /// See [`PluginResult::to_version`].
    pub fn from_result(mut result: CniResult, version: Version) -> Result<Self, ResultError> {
        result.remove_invalid_indexes();
        let raw = convert::serialize(&result, version)?;
        // Parsed again, because an old version cannot express everything in `result`.
        let result = convert::parse(raw.get(), version).map_err(invalid)?;
        Ok(Self {
            version,
            raw,
            result,
        })
    }

    /// The version of the raw JSON.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The parsed result.
    pub fn result(&self) -> &CniResult {
        &self.result
    }

    /// The raw JSON, which always has a `cniVersion`.
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// Converts the result to `version` (T-002). Unknown keys are kept if both versions have the
    /// same format (T-009).
    ///
    /// # Errors
    /// [`ResultError::NoAddress`] if `version` is 0.1.0 or 0.2.0 and the result has no address.
    pub fn to_version(&self, version: Version) -> Result<Self, ResultError> {
        if version == self.version {
            return Ok(self.clone());
        }
        if !convert::same_format(version, self.version) {
            return Self::from_result(self.result.clone(), version);
        }
        let mut map: RawMap = serde_json::from_str(self.raw.get()).map_err(invalid)?;
        map.insert("cniVersion".to_owned(), json(&version)?);
        Ok(Self {
            version,
            raw: json(&map)?,
            result: self.result.clone(),
        })
    }
}

/// The version in `cniVersion`. Returns `None` if the key is missing, null or empty.
fn declared_version(result: &RawMap) -> Result<Option<Version>, ResultError> {
    let Some(raw) = result.get("cniVersion") else {
        return Ok(None);
    };
    let declared = serde_json::from_str::<Option<String>>(raw.get()).map_err(invalid)?;
    let declared = declared.filter(|version| !version.is_empty());
    Ok(declared.map(|version| version.parse()).transpose()?)
}

/// Removes the `interface` keys of addresses whose index is invalid (T-007, T-008). Returns whether
/// a key was removed.
fn remove_invalid_indexes(map: &mut RawMap, ips: &[Ip]) -> Result<bool, ResultError> {
    let Some(raw) = map.get("ips") else {
        return Ok(false);
    };
    let mut elements = serde_json::from_str::<Option<Vec<RawMap>>>(raw.get())
        .map_err(invalid)?
        .unwrap_or_default();
    let mut removed = false;
    // `ips` can be shorter than `elements`: 0.1.0 and 0.2.0 have no key `ips`, so none of its
    // indexes is valid.
    for (position, element) in elements.iter_mut().enumerate() {
        let known = ips.get(position).is_some_and(|ip| ip.interface.is_some());
        removed |= !known && element.remove("interface").is_some();
    }
    if removed {
        map.insert("ips".to_owned(), json(&elements)?);
    }
    Ok(removed)
}

fn invalid(error: impl fmt::Display) -> ResultError {
    ResultError::Invalid(shorten(&error.to_string()))
}

fn json<T: Serialize>(value: &T) -> Result<Box<RawValue>, ResultError> {
    to_raw_value(value).map_err(|error| ResultError::Write(error.to_string()))
}
