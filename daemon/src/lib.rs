//! plexusd, the node daemon. The way of a call: [`plan`] is pure and owns the types that the rooms share.

pub mod gather;
pub mod netns;
pub mod plan;
