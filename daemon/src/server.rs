//! HTTP on the Unix socket: who calls, what they ask, and the answer. Knows nothing of networks. And the metrics, over
//! TCP.

mod client;
mod handlers;
mod listener;
mod metrics;
mod successor;

pub use client::{Reply, get, post};
pub use handlers::{ABANDON, Shared, metrics_router, router};
pub use listener::{Ended, Listener};
pub use metrics::MetricsListener;
pub use successor::outlive;
