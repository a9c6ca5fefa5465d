//! HTTP on the Unix socket: who calls, what they ask, and the answer. Knows nothing of networks.

mod handlers;
mod listener;
mod successor;

pub use handlers::router;
pub use listener::{Ended, Listener};
pub use successor::outlive;
