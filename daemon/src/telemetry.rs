//! Logs.

use tracing_subscriber::EnvFilter;

/// Logs to stderr. `PLEXUS_LOG` (as `debug` or `plexusd=debug`) wins over the configured level, which is one of
/// Multus'.
pub fn init(level: Option<&str>) {
    let level = match level {
        Some("debug") => "debug",
        Some("error") => "error,kube_client=off",
        Some("panic") => "off",
        // Of its requests the daemon itself tells what matters.
        _ => "info,kube_client=off",
    };
    let filter = EnvFilter::try_from_env("PLEXUS_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
