//! What the decision needs, read once: from caches and files on the node.

pub mod cluster;
pub mod disk;
