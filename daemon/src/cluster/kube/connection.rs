//! The address of the API server, and the credentials for it.

use std::path::PathBuf;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::telemetry::ApiLayer;

/// The time limit for the set-up of a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Creates clients for one API server.
#[derive(Debug)]
pub(crate) struct Connection {
    kubeconfig: Option<PathBuf>,
    metrics: ApiLayer,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The process was not started by Kubernetes, or its pod has no service account.
    #[error(
        "not in a cluster, which needs KUBERNETES_SERVICE_HOST and the files of a service account: {0}; give \
         --kubeconfig FILE to reach one from outside, or --manifests DIR to do without"
    )]
    InCluster(#[from] InClusterError),
    #[error("--kubeconfig {path} cannot be used")]
    Kubeconfig {
        path: String,
        source: KubeconfigError,
    },
    #[error("the credentials for the API server cannot be used")]
    Credentials(#[from] kube::Error),
}

impl Connection {
    /// A connection to the API server of `kubeconfig`, or of the cluster that this process runs in.
    /// `metrics` counts all requests.
    pub(crate) fn new(kubeconfig: Option<PathBuf>, metrics: ApiLayer) -> Self {
        // An error means that a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            kubeconfig,
            metrics,
        }
    }

    /// A client with its own connections and the current credentials. The client reloads token
    /// files about once a minute. The client neither retries nor times out: callers set the time
    /// limit.
    ///
    /// # Errors
    /// Credentials are missing or cannot be used. The server is not contacted.
    pub(crate) async fn client(&self) -> Result<Client, ConnectionError> {
        let mut config = match &self.kubeconfig {
            None => Config::incluster()?,
            Some(path) => {
                let invalid = |source| ConnectionError::Kubeconfig {
                    path: path.display().to_string(),
                    source,
                };
                let kubeconfig = Kubeconfig::read_from(path).map_err(invalid)?;
                let has_proxy = kubeconfig
                    .clusters
                    .iter()
                    .filter_map(|named| named.cluster.as_ref())
                    .any(|cluster| cluster.proxy_url.is_some());
                let options = KubeConfigOptions::default();
                let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(invalid)?;
                if !has_proxy {
                    // A proxy from an environment variable is not meant for the node's own traffic.
                    config.proxy_url = None;
                }
                config
            }
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // The client would otherwise silently retry for minutes while a call waits.
        config.default_retry = false;
        Ok(ClientBuilder::try_from(config)?
            .with_layer(&self.metrics)
            .build())
    }
}
