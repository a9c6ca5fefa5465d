//! The Linux capabilities of plexusd.

#[cfg(test)]
mod tests;

use std::{fs, io};

/// A capability that plexusd needs; see `capabilities(7)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capability {
    NetAdmin,
    SysChroot,
    SysPtrace,
    SysAdmin,
}

impl Capability {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysChroot => "CAP_SYS_CHROOT",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::NetAdmin => 12,
            Self::SysChroot => 18,
            Self::SysPtrace => 19,
            Self::SysAdmin => 21,
        }
    }
}

/// The effective capabilities of a thread in its user namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CapabilitySet(u64);

impl CapabilitySet {
    /// The capabilities of the calling thread.
    pub(crate) fn own() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string(
            "/proc/thread-self/status",
        )?))
    }

    /// Parses the content of `/proc/PID/status`. Empty without a valid line `CapEff`.
    pub(crate) fn parse(status: &str) -> Self {
        let effective = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        Self(effective.unwrap_or_default())
    }

    pub(crate) fn has(self, capability: Capability) -> bool {
        self.0 >> capability.number() & 1 == 1
    }
}
