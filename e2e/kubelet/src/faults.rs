//! How a kubelet deviates from a current one that works.

/// Deviations. Without any by default.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub get: GetSupport,
    /// How many of the next calls are rejected by the rate limit. `usize::MAX` for all.
    pub rate_limited: usize,
    /// Whether calls are accepted and never answered.
    pub hangs: bool,
    /// The least size of the answers to `List`, in bytes.
    pub list_size: usize,
}

/// Whether a kubelet has the method `Get`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GetSupport {
    #[default]
    Implemented,
    /// As in Kubernetes up to 1.26.
    Unimplemented,
    /// The feature gate is off, as in Kubernetes 1.27 to 1.33.
    Disabled,
}
