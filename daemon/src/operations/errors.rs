//! Conversion of other modules' errors to CNI errors.

use plexus_api::cni::{CniError, Code};

use crate::call_limits::WaitError;
use crate::cluster::kube::ApiError;
use crate::config::FieldsError;
use crate::gather::{DiskError, GatherError};
use crate::host::HostError;
use crate::ledger::{LedgerError, PreviousResultError};
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

impl From<FieldsError> for CniError {
    fn from(error: FieldsError) -> Self {
        let code = match error {
            FieldsError::Json(_) => Code::Decode,
            FieldsError::Value { .. } => Code::UnsupportedField,
        };
        Self::new(code, error.to_string())
    }
}

impl From<LedgerError> for CniError {
    fn from(error: LedgerError) -> Self {
        let text = error.to_string();
        match error {
            LedgerError::InvalidKey(error) => error.into(),
            LedgerError::Wait(error) => error.into(),
            LedgerError::InFlight { .. } | LedgerError::AlreadyAttached { .. } => {
                Self::new(Code::AlreadyAttached, text)
            }
            _ => Self::new(Code::Ledger, format!("ledger: {text}")),
        }
    }
}

impl From<WaitError> for CniError {
    fn from(error: WaitError) -> Self {
        Self::new(Code::TryAgain, error.to_string())
    }
}

impl From<PreviousResultError> for CniError {
    fn from(error: PreviousResultError) -> Self {
        Self::new(Code::CheckFailed, error.to_string())
    }
}

impl From<GatherError> for CniError {
    fn from(error: GatherError) -> Self {
        // The cause decides the code and the details.
        let Self { code, details, .. } = gather_cause(&error);
        Self {
            code,
            ..Self::new(Code::Internal, error.to_string()).with_details(details)
        }
    }
}

fn gather_cause(error: &GatherError) -> CniError {
    let code = match error {
        GatherError::Context { source, .. }
        | GatherError::DefaultNetworkNamespace { source, .. } => {
            return gather_cause(source);
        }
        GatherError::Definition(source)
        | GatherError::Delegate { source, .. }
        | GatherError::Disk(DiskError::Invalid { source, .. }) => return source.clone().into(),
        GatherError::Api { source, .. } => match **source {
            ApiError::InvalidObject(_) => Code::InvalidConfig,
            _ => Code::TryAgain,
        },
        GatherError::Disk(error) => disk_code(error),
        GatherError::Annotation { .. }
        | GatherError::DefaultNetworkCount(_)
        | GatherError::TooLarge(_) => Code::InvalidAnnotation,
        GatherError::NoDefinition | GatherError::NoConfig { .. } => Code::UnknownNetwork,
        GatherError::PodAnnotations(_)
        | GatherError::ResourceName(_)
        | GatherError::NoDefaultNetworkConfigured
        | GatherError::MetaPlugin { .. } => Code::InvalidConfig,
        GatherError::Memory(_)
        | GatherError::Kubelet(_)
        | GatherError::UnknownPod
        | GatherError::OtherPod { .. }
        | GatherError::DefaultNetworkPending
        | GatherError::DefinitionsPending
        | GatherError::DefaultNetworkFileMissing { .. }
        | GatherError::DefaultNetworkNotReady(_)
        | GatherError::DefaultNetworkMissing { .. } => Code::TryAgain,
    };
    CniError::new(code, "")
}

fn disk_code(error: &DiskError) -> Code {
    use std::io::ErrorKind;
    match error {
        DiskError::NoNetwork { .. }
        | DiskError::NoDefaultNetwork { .. }
        | DiskError::Unreadable {
            kind: ErrorKind::NotFound,
            ..
        } => Code::UnknownNetwork,
        DiskError::Unreadable {
            kind: ErrorKind::InvalidData,
            ..
        } => Code::Decode,
        DiskError::Unreadable { .. } => Code::Io,
        DiskError::NotAFile(_)
        | DiskError::Invalid { .. }
        | DiskError::Sample(_)
        | DiskError::MetaPlugin { .. } => Code::InvalidConfig,
        DiskError::Panicked(_) => Code::Internal,
    }
}

#[cfg(test)]
mod tests;
