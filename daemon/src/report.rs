//! What a pod's user reads about its networks.

pub mod status;
