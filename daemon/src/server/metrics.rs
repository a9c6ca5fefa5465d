//! The metrics and the probes over TCP, apart from the socket: whoever can reach this port can neither change anything
//! nor keep calls waiting.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The longest that one request may take, from the first byte to the last.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many connections are served at one time: they take descriptors, and the plugins need those too.
const CONNECTIONS: usize = 16;

/// The bound port.
#[derive(Debug)]
pub(crate) struct MetricsListener(TcpListener);

impl MetricsListener {
    /// Binds `address`. None where there is no address, or where it cannot be bound: pods need their networks all the
    /// same, so that is only logged.
    pub(crate) async fn bind(address: Option<SocketAddr>) -> Option<Self> {
        let address = address?;
        let bound = match TcpListener::bind(address).await {
            // A node without IPv6.
            Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
                let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                TcpListener::bind(SocketAddr::new(v4, address.port())).await
            }
            bound => bound,
        };
        match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((address, listener)) => {
                tracing::info!(%address, "metrics are at /metrics");
                Some(Self(listener))
            }
            Err(error) => {
                tracing::error!(%address, %error, "no metrics over TCP: set metricsAddress to an address that is free");
                None
            }
        }
    }

    /// Answers until `stop`, and lets go of the port and of `router` then: a scraper can ask the next daemon.
    pub(crate) async fn serve(self, router: Router, stop: CancellationToken) {
        let (room, tasks) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
        loop {
            let next = async {
                // The semaphore is never closed.
                let permit = room.clone().acquire_owned().await.ok();
                (permit, self.0.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                next = next => next,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(PATIENCE)
                        .keep_alive(false)
                        .serve_connection(
                            TokioIo::new(stream),
                            TowerToHyperService::new(router.clone()),
                        );
                    let stop = stop.clone();
                    tasks.spawn(async move {
                        let _permit = permit;
                        tokio::select! {
                            ended = tokio::time::timeout(PATIENCE, connection) => {
                                if let Ok(Err(error)) = ended {
                                    tracing::debug!(%error, "a connection for metrics ended early");
                                }
                            }
                            () = stop.cancelled() => {}
                        }
                    });
                }
                Err(error) => pause(&error).await,
            }
        }
        drop(self.0);
        tasks.close();
        tasks.wait().await;
    }
}

/// Out of descriptors, most likely: others must end before this can go on.
async fn pause(error: &io::Error) {
    tracing::error!(%error, "cannot accept a connection for metrics");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
