//! Pods whose sandboxes a real containerd makes, with the configuration that plexusd publishes for its network. They are
//! run as kubelet runs them, by the CRI.

mod away;
mod crowd;
mod failure;
mod killed;
mod life;
mod ready;
mod restart;
mod stage;
