//! Types that several modules of the daemon share.

mod attachment;
mod devices;
mod meta_plugins;
mod netns_id;
mod network;
mod pod;

pub(crate) use attachment::{Attachment, DefaultRoutes, Origin, RouteOwner, attachment_label};
pub(crate) use devices::{Allocation, Devices, PodDevice};
pub(crate) use meta_plugins::meta_plugin_type;
pub(crate) use netns_id::NetnsId;
pub(crate) use network::Network;
pub(crate) use pod::{KEPT_ANNOTATIONS, Pod, PodRef};

#[cfg(test)]
mod tests;
