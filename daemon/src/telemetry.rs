//! Metrics and logs of the daemon.
//!
//! Only `metrics` uses the metrics library, and only `logs` configures the output of logs.

mod api;
mod call_span;
#[cfg(test)]
mod captured_log;
mod change_filter;
mod log_file;
mod logs;
mod metrics;

pub(crate) use api::ApiLayer;
pub(crate) use call_span::CallSpan;
#[cfg(test)]
pub(crate) use captured_log::CapturedLog;
pub(crate) use change_filter::ChangeFilter;
pub(crate) use logs::Logs;
pub(crate) use metrics::{CacheReading, LedgerReading, Metrics, PermitsReading};
