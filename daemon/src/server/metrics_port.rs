//! Metrics and probes over TCP. Clients of this port can neither change anything nor delay calls.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{pause_after, serve_request};
use crate::backoff::Backoff;
use crate::conditions::{Condition, Conditions};
use crate::problem::Problem;

/// The time limit of one request, from its first byte to the last byte of the response.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The maximum number of concurrent connections. Connections take file descriptors, which plugins
/// need as well.
const MAX_CONNECTIONS: usize = 16;

/// The longest pause between two attempts to bind the port.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The port. While another program has the port, the daemon is not ready.
#[derive(Debug)]
pub(crate) struct MetricsPort {
    address: SocketAddr,
    conditions: Conditions,
    /// `None` if the port is in use.
    listener: Option<TcpListener>,
}

impl MetricsPort {
    /// Binds `address`, or reports why not.
    pub(crate) async fn open(address: SocketAddr, conditions: &Conditions) -> Self {
        let mut port = Self {
            address,
            conditions: conditions.clone(),
            listener: None,
        };
        port.bind().await;
        port
    }

    async fn bind(&mut self) {
        let address = self.address;
        let bound = match TcpListener::bind(address).await {
            // The node may have no IPv6.
            Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
                let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                TcpListener::bind(SocketAddr::new(v4, address.port())).await
            }
            bound => bound,
        };
        let problem = match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((address, listener)) => {
                tracing::info!(%address, "metrics are served at /metrics");
                self.listener = Some(listener);
                None
            }
            Err(error) => Some(Problem::new(
                format!(
                    "metrics and probes cannot be served on {address} (metricsAddress): {error}"
                ),
                "free the port, or set another address",
            )),
        };
        self.conditions.set(Condition::MetricsPort, problem);
    }

    /// Serves `router` until `stop`, then closes the port, so that the next daemon can bind it.
    pub(crate) async fn serve(mut self, router: Router, stop: CancellationToken) {
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        loop {
            if let Some(listener) = self.listener.take() {
                return serve(listener, router, stop).await;
            }
            let pause = backoff.next(Duration::ZERO);
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
            self.bind().await;
        }
    }
}

async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let (permits, tasks) = (
        Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        TaskTracker::new(),
    );
    loop {
        let accept = async {
            // The semaphore is never closed.
            let permit = permits.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let served = serve_request(stream, router.clone(), TIME_LIMIT);
                let stop = stop.clone();
                tasks.spawn(async move {
                    let _permit = permit;
                    tokio::select! {
                        _ = tokio::time::timeout(TIME_LIMIT, served) => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
            Err(error) => pause_after(&error, "metrics port").await,
        }
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}
