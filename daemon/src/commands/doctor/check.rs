//! The checks and their order.

use super::facts::Facts;
use super::finding::Outcome;
use super::{
    api_server, default_network, definitions, installation, interfaces, leases, objects, pods,
    process, reachability, records, state_directory,
};

/// A check of doctor, in the order of [`Check::ALL`]: a cause comes before its consequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    Configuration,
    Privileges,
    MountNamespace,
    StateDirectory,
    Limits,
    Socket,
    ApiServer,
    Clock,
    ApiRights,
    Crd,
    Objects,
    DefaultNetwork,
    Plugins,
    Shim,
    RuntimeConfiguration,
    Readiness,
    RoundTrip,
    Definitions,
    Links,
    Addresses,
    Records,
    Interfaces,
    Leases,
    Kubelet,
    Pods,
    StartupTaint,
}

impl Check {
    pub const ALL: [Self; 26] = [
        Self::Configuration,
        Self::Privileges,
        Self::MountNamespace,
        Self::StateDirectory,
        Self::Limits,
        Self::Socket,
        Self::ApiServer,
        Self::Clock,
        Self::ApiRights,
        Self::Crd,
        Self::Objects,
        Self::DefaultNetwork,
        Self::Plugins,
        Self::Shim,
        Self::RuntimeConfiguration,
        Self::Readiness,
        Self::RoundTrip,
        Self::Definitions,
        Self::Links,
        Self::Addresses,
        Self::Records,
        Self::Interfaces,
        Self::Leases,
        Self::Kubelet,
        Self::Pods,
        Self::StartupTaint,
    ];

    /// The name in the output. Names are stable: other programs filter by them.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Privileges => "privileges",
            Self::MountNamespace => "mount-namespace",
            Self::StateDirectory => "state-directory",
            Self::Limits => "limits",
            Self::Socket => "socket",
            Self::ApiServer => "api-server",
            Self::Clock => "clock",
            Self::ApiRights => "api-rights",
            Self::Crd => "crd",
            Self::Objects => "objects",
            Self::DefaultNetwork => "default-network",
            Self::Plugins => "plugins",
            Self::Shim => "shim",
            Self::RuntimeConfiguration => "runtime-configuration",
            Self::Readiness => "readiness",
            Self::RoundTrip => "round-trip",
            Self::Definitions => "definitions",
            Self::Links => "links",
            Self::Addresses => "addresses",
            Self::Records => "records",
            Self::Interfaces => "interfaces",
            Self::Leases => "leases",
            Self::Kubelet => "kubelet",
            Self::Pods => "pods",
            Self::StartupTaint => "startup-taint",
        }
    }

    /// The checks without which this one would only report their consequences.
    pub(super) fn needs(self) -> &'static [Self] {
        match self {
            Self::Configuration => &[],
            Self::Privileges
            | Self::StateDirectory
            | Self::Limits
            | Self::Socket
            | Self::ApiServer
            | Self::Objects
            | Self::DefaultNetwork
            | Self::Shim
            | Self::RuntimeConfiguration => &[Self::Configuration],
            Self::MountNamespace | Self::Records => &[Self::Privileges],
            Self::Definitions | Self::Links | Self::Addresses | Self::Leases | Self::Kubelet => {
                &[Self::MountNamespace, Self::Objects]
            }
            Self::Interfaces => &[Self::MountNamespace],
            Self::Clock | Self::ApiRights | Self::Crd | Self::StartupTaint => &[Self::ApiServer],
            Self::Plugins | Self::Pods => &[Self::MountNamespace, Self::DefaultNetwork],
            Self::Readiness => &[Self::Socket],
            Self::RoundTrip => &[
                Self::MountNamespace,
                Self::Socket,
                Self::Plugins,
                Self::Shim,
                Self::RuntimeConfiguration,
            ],
        }
    }

    pub(super) async fn run(self, facts: &mut Facts) -> Outcome {
        match self {
            // Facts exist only with a configuration.
            Self::Configuration => Vec::new().into(),
            Self::Privileges => process::privileges(facts).await,
            Self::MountNamespace => process::mount_namespace(facts),
            Self::StateDirectory => state_directory::check(facts),
            Self::Limits => process::limits(facts),
            Self::Socket => reachability::socket(facts).await,
            Self::ApiServer => api_server::reachable(facts).await,
            Self::Clock => api_server::clock(facts),
            Self::ApiRights => api_server::rights(facts).await,
            Self::Crd => api_server::crd(facts).await,
            Self::Objects => objects::check(facts).await,
            Self::DefaultNetwork => default_network::check(facts).await,
            Self::Plugins => default_network::plugins(facts).await,
            Self::Shim => installation::shim(facts),
            Self::RuntimeConfiguration => installation::runtime_configuration(facts),
            Self::Readiness => reachability::readiness(facts).await,
            Self::RoundTrip => reachability::round_trip(facts).await,
            Self::Definitions => definitions::check(facts).await,
            Self::Links => definitions::links(facts).await,
            Self::Addresses => leases::addresses(facts).await,
            Self::Records => records::check(facts).await,
            Self::Interfaces => interfaces::check(facts).await,
            Self::Leases => leases::leases(facts).await,
            Self::Kubelet => pods::kubelet(facts).await,
            Self::Pods => pods::check(facts).await,
            Self::StartupTaint => api_server::startup_taint(facts).await,
        }
    }
}
