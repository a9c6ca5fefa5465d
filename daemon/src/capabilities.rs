//! What plexusd may do: the capabilities of its threads.

#[cfg(test)]
mod tests;

use std::{fs, io};

/// A capability of Linux that plexusd needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capability {
    /// Links and routes.
    NetAdmin,
    /// Another root.
    SysChroot,
    /// The processes of others.
    SysPtrace,
    /// Namespaces.
    SysAdmin,
}

impl Capability {
    /// Its name, as `capabilities(7)` has it.
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

/// The capabilities of a thread, in its user namespace at least.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rights(u64);

impl Rights {
    /// Those of the calling thread.
    ///
    /// # Errors
    /// As reading `/proc` fails.
    pub(crate) fn own() -> io::Result<Self> {
        Ok(Self::read(&fs::read_to_string("/proc/thread-self/status")?))
    }

    /// Those that a task's `status` tells; none where it does not.
    pub(crate) fn read(status: &str) -> Self {
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Self(
            effective
                .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
                .unwrap_or_default(),
        )
    }

    /// Whether `capability` is among them.
    pub(crate) fn has(self, capability: Capability) -> bool {
        self.0 >> capability.number() & 1 == 1
    }
}
