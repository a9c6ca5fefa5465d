//! The key of a record.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Identifies a record: one interface that the runtime asked for, in one container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RecordKey {
    /// `CNI_CONTAINERID`.
    pub(crate) container_id: String,
    /// `CNI_IFNAME` of the runtime.
    pub(crate) ifname: String,
}

/// The record whose failed DEL is retried.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RetryRequest {
    pub(crate) container_id: String,
    pub(crate) ifname: String,
}

impl RecordKey {
    pub(crate) fn new(container_id: &str, ifname: &str) -> Self {
        Self {
            container_id: container_id.to_owned(),
            ifname: ifname.to_owned(),
        }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.container_id, self.ifname)
    }
}
