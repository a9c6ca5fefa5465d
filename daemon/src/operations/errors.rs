//! The CNI error codes of errors from other modules.

use plexus_api::cni::{CniError, Code};

use crate::host::HostError;
use crate::netns::NetnsError;

impl From<NetnsError> for CniError {
    fn from(error: NetnsError) -> Self {
        let code = match &error {
            NetnsError::NotANetns(_) | NetnsError::Open { .. } => Code::InvalidEnvironment,
            NetnsError::OutOfResources { .. }
            | NetnsError::NotPermitted { .. }
            | NetnsError::Netlink { .. } => Code::Io,
            NetnsError::MoveDefaultRoute { .. } => Code::RouteFailed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<HostError> for CniError {
    /// Plugins cannot be started now. The runtime retries until an administrator has fixed the
    /// cause.
    fn from(error: HostError) -> Self {
        Self::new(Code::TryAgain, error.to_string())
    }
}
