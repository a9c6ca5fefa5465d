//! Metrics and probes over TCP. Clients of this port can neither change anything nor delay calls.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{pause_after, serve_request};

/// The time limit of one request, from its first byte to the last byte of the response.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The maximum number of concurrent connections. Connections take file descriptors, which plugins
/// need as well.
const MAX_CONNECTIONS: usize = 16;

/// The bound port.
#[derive(Debug)]
pub(crate) struct MetricsListener(TcpListener);

impl MetricsListener {
    /// Binds `address`. Returns `None` if no address is configured, or if binding fails, which is
    /// only logged: pods need their networks even without metrics.
    pub(crate) async fn bind(address: Option<SocketAddr>) -> Option<Self> {
        let address = address?;
        let bound = match TcpListener::bind(address).await {
            // The node may have no IPv6.
            Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
                let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                TcpListener::bind(SocketAddr::new(v4, address.port())).await
            }
            bound => bound,
        };
        match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((address, listener)) => {
                tracing::info!(%address, "metrics are served at /metrics");
                Some(Self(listener))
            }
            Err(error) => {
                tracing::error!(%address, %error, "no metrics over TCP: set metricsAddress to a free address");
                None
            }
        }
    }

    /// Serves `router` until `stop`, then closes the port, so that the next daemon can bind it.
    pub(crate) async fn serve(self, router: Router, stop: CancellationToken) {
        let (permits, tasks) = (
            Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            TaskTracker::new(),
        );
        loop {
            let accept = async {
                // The semaphore is never closed.
                let permit = permits.clone().acquire_owned().await.ok();
                (permit, self.0.accept().await)
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
        drop(self.0);
        tasks.close();
        tasks.wait().await;
    }
}
