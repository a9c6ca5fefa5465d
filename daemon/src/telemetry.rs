//! What the daemon tells of itself: metrics and logs.
//!
//! `metrics` is the only file that knows the metrics library, `logs` the only one that knows how logs are written.

mod api;
mod call;
mod log_file;
mod logs;
mod metrics;

pub use api::{ApiLayer, ApiService};
pub use call::Call;
pub use logs::Logs;
pub use metrics::{CacheReading, LedgerReading, Metrics, SlotsReading};
