//! The types that the modules of the daemon share.

mod attachment;
mod meta_plugins;
mod netns_id;
mod network;
mod pod;

pub(crate) use attachment::{Attachment, DefaultRoutes, RouteOwner, place};
pub(crate) use meta_plugins::refers_to_us;
pub(crate) use netns_id::NetnsId;
pub(crate) use network::Network;
pub(crate) use pod::{CONFIG_SOURCE, Pod, PodRef};
