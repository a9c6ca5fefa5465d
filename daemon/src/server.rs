//! HTTP servers on the Unix socket and the metrics port. Authenticates callers and dispatches their
//! calls.

mod accept;
mod body;
mod client;
mod connections;
mod handlers;
mod ledger_reading;
mod listener;
mod metrics_port;
mod node_status;
mod other_daemon;
mod pods;
mod responses;
mod scrape;

pub(crate) use client::{Response, get, no_daemon, post, put};
pub(crate) use handlers::{ABANDON, AppState, LOG_LEVEL, RETRY, STATUS, probe_router, router};
pub(crate) use listener::{Listener, ListenerExit};
pub(crate) use metrics_port::MetricsPort;
pub(crate) use node_status::{DaemonStatus, InstalledFile, LedgerStatus, NodeStatus, Reading};
pub(crate) use other_daemon::{other_generation, wait_until_no_daemon};
pub(crate) use pods::{PENDING, Pending, WARNINGS};
