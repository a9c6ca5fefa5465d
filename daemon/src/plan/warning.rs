//! Warnings: parts of a request that are not granted, although the pod is not refused.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) kind: WarningKind,
    /// The network, the cause and the next step, in one line.
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WarningKind {
    /// No plugin declares a capability that the pod requests (decision 1).
    CapabilityMissing,
    /// The pod names a device, but another one is allocated to it (D-036).
    DeviceIdIgnored,
    /// The default network keeps the runtime's interface name (K-063).
    InterfaceNameIgnored,
}
