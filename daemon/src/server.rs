//! HTTP on the Unix socket: who calls, what they ask, and the answer. Knows nothing of networks.

mod client;
mod handlers;
mod listener;
mod successor;

pub use client::post;
pub use handlers::{ABANDON, router};
pub use listener::{Ended, Listener};
pub use successor::outlive;
