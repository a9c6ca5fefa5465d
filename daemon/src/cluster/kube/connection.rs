//! Where the API server is, and who we are there.

use std::path::PathBuf;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::telemetry::ApiLayer;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);

/// Makes clients for one API server.
#[derive(Debug)]
pub(crate) struct Connection {
    kubeconfig: Option<PathBuf>,
    measure: ApiLayer,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// Not started by Kubernetes, or without a service account.
    #[error(
        "not in a cluster: KUBERNETES_SERVICE_HOST and the files of a service account are needed; give \
         --kubeconfig FILE to reach one from outside, or --manifests DIR to do without"
    )]
    InCluster(#[from] InClusterError),
    /// The file cannot be used.
    #[error("--kubeconfig {path} cannot be used")]
    Kubeconfig {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: KubeconfigError,
    },
    /// Credentials or certificates cannot be used.
    #[error("the credentials for the API server cannot be used")]
    Credentials(#[from] kube::Error),
}

impl Connection {
    /// The API server of this kubeconfig, or without one that of the cluster this process runs in. All
    /// requests go through `measure`.
    pub(crate) fn new(kubeconfig: Option<PathBuf>, measure: ApiLayer) -> Self {
        // It fails only where it has been done.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            kubeconfig,
            measure,
        }
    }

    /// A client with connections of its own and the credentials of this moment. It reads token files again about once
    /// a minute, does not try again by itself, and waits without limit for an answer: whoever asks sets the limit.
    ///
    /// # Errors
    /// Credentials are missing or cannot be used. That the server can be reached is not tried.
    pub(crate) async fn client(&self) -> Result<Client, ConnectionError> {
        let mut config = match &self.kubeconfig {
            None => Config::incluster()?,
            Some(path) => {
                let wrong = |source| ConnectionError::Kubeconfig {
                    path: path.display().to_string(),
                    source,
                };
                let kubeconfig = Kubeconfig::read_from(path).map_err(wrong)?;
                let proxied = kubeconfig
                    .clusters
                    .iter()
                    .filter_map(|named| named.cluster.as_ref());
                let proxied = proxied
                    .into_iter()
                    .any(|cluster| cluster.proxy_url.is_some());
                let options = KubeConfigOptions::default();
                let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(wrong)?;
                if !proxied {
                    // A proxy that some environment variable names is for other traffic than a node's own.
                    config.proxy_url = None;
                }
                config
            }
        };
        config.connect_timeout = Some(CONNECT);
        // By itself the client would try for minutes, unseen, while a call waits.
        config.default_retry = false;
        Ok(ClientBuilder::try_from(config)?
            .with_layer(&self.measure)
            .build())
    }
}
