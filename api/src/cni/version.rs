//! The versions of the specification.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CniError, Code};

/// A version of the CNI specification that Plexus speaks, oldest first, so that they compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// 0.1.0
    #[serde(rename = "0.1.0")]
    V0_1_0,
    /// 0.2.0
    #[serde(rename = "0.2.0")]
    V0_2_0,
    /// 0.3.0
    #[serde(rename = "0.3.0")]
    V0_3_0,
    /// 0.3.1
    #[serde(rename = "0.3.1")]
    V0_3_1,
    /// 0.4.0: CHECK, and `prevResult` on DEL
    #[serde(rename = "0.4.0")]
    V0_4_0,
    /// 1.0.0
    #[serde(rename = "1.0.0")]
    V1_0_0,
    /// 1.1.0: GC and STATUS
    #[serde(rename = "1.1.0")]
    V1_1_0,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Self; 7] = [
        Self::V0_1_0,
        Self::V0_2_0,
        Self::V0_3_0,
        Self::V0_3_1,
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];
    /// The newest version.
    pub const LATEST: Self = Self::V1_1_0;

    /// The version as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The value of a `cniVersion` key. Only a literal member of the list counts; missing or empty means 0.1.0
    /// (P-063, P-064).
    ///
    /// # Errors
    /// [`Code::IncompatibleVersion`], with both sides in the details.
    pub fn from_key(value: Option<&str>) -> Result<Self, CniError> {
        let value = value.unwrap_or_default();
        if value.is_empty() {
            return Ok(Self::V0_1_0);
        }
        Self::exact(value).ok_or_else(|| Self::unsupported(value))
    }

    /// The version whose text is exactly `value`.
    pub fn exact(value: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == value)
    }

    /// The error for a version that is not in the list.
    pub fn unsupported(value: &str) -> CniError {
        let known = Self::ALL.map(Self::as_str).join(", ");
        CniError::new(
            Code::IncompatibleVersion,
            format!("cniVersion {value:?} is not supported"),
        )
        .with_details(format!(
            "the configuration asks for {value:?}, supported are {known}"
        ))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
