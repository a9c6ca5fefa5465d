//! What a pod gets: from a snapshot of all that is known to an ordered list of attachments. Pure.

mod attachment;
mod recursion;
mod snapshot;

pub use attachment::{Attachment, DefaultRoutes, NetnsId, PodRef, RouteOwner};
pub use recursion::refers_to_us;
pub use snapshot::{Network, Pod, Policy, Selected, Snapshot};
