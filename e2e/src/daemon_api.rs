//! The HTTP API of a daemon, over its socket and over TCP.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::{Daemon, Reply, http};

impl Daemon<'_> {
    /// `POST path` on the socket.
    pub fn post(&self, path: &str, body: &[u8]) -> io::Result<Reply> {
        self.exchange(&http::request("POST", path, body))
    }

    /// `PUT path` on the socket.
    pub fn put(&self, path: &str, body: &[u8]) -> io::Result<Reply> {
        self.exchange(&http::request("PUT", path, body))
    }

    /// `GET path` over TCP, from the daemon's node.
    pub fn get_tcp(&self, address: SocketAddr, path: &str) -> io::Result<Reply> {
        self.node()
            .run(|| http::exchange_tcp(address, &http::request("GET", path, b"")))
    }

    /// The HTTP status of `GET path` on the socket.
    pub fn status_of(&self, path: &str) -> u16 {
        self.get(path).expect("a reply").status
    }

    /// The metrics in Prometheus' text format, from the socket.
    pub fn metrics(&self) -> String {
        self.get("/metrics").expect("a reply").body
    }
}

/// The value of a series in `metrics`. `series` includes the labels.
#[track_caller]
pub fn metric<T: FromStr>(metrics: &str, series: &str) -> T {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
        .unwrap_or_else(|| panic!("no {series} in\n{metrics}"))
}
