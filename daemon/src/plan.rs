//! What a pod gets: from a snapshot of all that is known to an ordered list of attachments. Pure.

mod attachment;
mod snapshot;

pub use attachment::{Attachment, DefaultRoutes, NetnsId, PodRef, RouteOwner};
pub use snapshot::{Network, Pod, Policy, Selected, Snapshot};
