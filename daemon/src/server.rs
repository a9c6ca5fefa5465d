//! HTTP on the Unix socket: who calls, what they ask, and the answer. Knows nothing of networks. And the metrics, over
//! TCP.

mod client;
mod handlers;
mod listener;
mod metrics;
mod successor;

pub(crate) use client::{Reply, get, post};
pub(crate) use handlers::{ABANDON, Shared, metrics_router, router};
pub(crate) use listener::{Ended, Listener};
pub(crate) use metrics::MetricsListener;
pub(crate) use successor::outlive;
