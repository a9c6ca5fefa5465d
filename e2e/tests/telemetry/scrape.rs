//! The metrics of a node's daemon, as Prometheus gets them.

use std::net::SocketAddr;

use plexus_e2e::Plexus;

/// Where they are unless told otherwise.
pub const DEFAULT: &str = "127.0.0.1:9464";

/// What is scraped there.
pub fn scrape(plexus: &Plexus<'_>) -> String {
    let address: SocketAddr = DEFAULT.parse().expect("an address");
    let reply = plexus
        .daemon
        .get_tcp(address, "/metrics")
        .expect("an answer");
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.body
}

/// That these series have these values in one scrape.
#[track_caller]
pub fn assert_values(plexus: &Plexus<'_>, expected: &[(&str, f64)]) {
    let scrape = scrape(plexus);
    for (series, expected) in expected {
        assert!(
            (value_in(&scrape, series) - expected).abs() < 1e-9,
            "{series} in\n{scrape}"
        );
    }
}

/// The value of a series.
pub fn value(plexus: &Plexus<'_>, series: &str) -> f64 {
    value_in(&scrape(plexus), series)
}

fn value_in(scrape: &str, series: &str) -> f64 {
    let found = scrape
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    found.unwrap_or_else(|| panic!("no {series} in\n{scrape}"))
}
