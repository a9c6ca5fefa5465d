//! The metrics and logs of the daemon.

mod alerts;
mod deployed;
mod logs;
mod metrics;

use std::net::SocketAddr;

use plexus_e2e::Plexus;

/// The default address of the metrics port.
const ADDRESS: &str = "127.0.0.1:9037";

/// The metrics from the metrics port.
fn scrape(plexus: &Plexus<'_>) -> String {
    let address: SocketAddr = ADDRESS.parse().expect("an address");
    let reply = plexus.daemon.get_tcp(address, "/metrics").expect("a reply");
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.body
}
