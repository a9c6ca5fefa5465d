//! What the daemon tells of itself: metrics and logs.

mod deployed;
mod logs;
mod metrics;
mod scrape;
