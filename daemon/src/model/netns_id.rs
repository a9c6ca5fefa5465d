//! The identity of a network namespace.

use serde::{Deserialize, Serialize};

/// What identifies a network namespace: device and inode of its file while it exists, and the kernel's cookie for this
/// boot. Inodes are given again soon after its end, cookies are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct NetnsId {
    /// The device of the namespace file system.
    pub(crate) dev: u64,
    /// The inode of the namespace.
    pub(crate) ino: u64,
    /// Its cookie; none on a kernel before 5.14.
    #[serde(default)]
    pub(crate) cookie: Option<u64>,
}

impl NetnsId {
    /// Whether both may be the same: only where both have a cookie is that certain.
    pub(crate) fn may_be(&self, other: Self) -> bool {
        let cookies = self.cookie.zip(other.cookie);
        (self.dev, self.ino) == (other.dev, other.ino)
            && cookies.is_none_or(|(own, other)| own == other)
    }
}
