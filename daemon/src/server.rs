//! HTTP on the Unix socket: who calls, what they ask, and the answer. Knows nothing of networks.

mod handlers;
mod listener;

pub use handlers::router;
pub use listener::Listener;
