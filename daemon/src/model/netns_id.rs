//! The identity of a network namespace.

use serde::{Deserialize, Serialize};

/// The device and inode of a network namespace's file, and the namespace's cookie. The kernel may
/// reuse an inode soon after its namespace is deleted, but reuses no cookie until the next boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct NetnsId {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    /// `None` on a kernel before 5.14.
    #[serde(default)]
    pub(crate) cookie: Option<u64>,
}

impl NetnsId {
    /// Whether both may be the same namespace. The answer is certain only if both have a cookie.
    pub(crate) fn may_equal(&self, other: Self) -> bool {
        let cookies = self.cookie.zip(other.cookie);
        (self.dev, self.ino) == (other.dev, other.ino)
            && cookies.is_none_or(|(own, other)| own == other)
    }
}
