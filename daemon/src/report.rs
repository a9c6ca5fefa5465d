//! What the world is told of an attachment: the network-status annotation.

pub mod status;

use std::io;
use std::path::PathBuf;

use plexus_api::cni::PluginResult;
use plexus_api::status::render;

use crate::gather::cluster::manifests;
use crate::plan::{Attachment, PodRef};

/// Writes network-status beside the manifests. The pods of a cluster get none yet.
#[derive(Debug, Clone)]
pub struct Reporter {
    manifests: Option<PathBuf>,
}

impl Reporter {
    /// A reporter for the pods in `manifests`, or for those of a cluster.
    pub fn new(manifests: Option<PathBuf>) -> Self {
        Self { manifests }
    }

    /// Writes the status of a pod whose attachments have these results.
    ///
    /// # Errors
    /// The file's.
    pub async fn network_status(
        &self,
        pod: &PodRef,
        attachments: &[Attachment],
        results: &[PluginResult],
    ) -> io::Result<()> {
        let Some(dir) = self.manifests.clone() else {
            tracing::debug!(%pod, "network-status is not written to a cluster");
            return Ok(());
        };
        let entries: Vec<_> = attachments
            .iter()
            .zip(results)
            .flat_map(|(attachment, result)| {
                status::entries(&attachment.network, &attachment.ifname, attachment.default, result.result(), None)
            })
            .collect();
        let pod = pod.clone();
        blocking(move || manifests::write_status(&dir, &pod.namespace, &pod.name, &render(&entries))).await
    }

    /// Removes the status of a pod that is detached.
    pub async fn forget(&self, pod: &PodRef) {
        let Some(dir) = self.manifests.clone() else { return };
        let gone = pod.clone();
        if let Err(error) = blocking(move || manifests::remove_status(&dir, &gone.namespace, &gone.name)).await {
            tracing::warn!(%pod, %error, "network-status of a deleted sandbox could not be removed");
        }
    }
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}
