//! HTTP on the Unix socket: who calls, what they ask, and the answer. Knows nothing of networks. And the metrics, over
//! TCP.

mod handlers;
mod listener;
mod metrics;
mod successor;

pub use handlers::{metrics_router, router};
pub use listener::{Ended, Listener};
pub use metrics::MetricsListener;
pub use successor::outlive;
