//! STATUS as the runtime asks for it: the shim that is installed is executed, told what is published, and calls us over
//! the socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_api::cni::CniError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::delegate::PluginCall;
use crate::install;

/// The longest that it takes: longer than the shim waits for us, and we for the plugins.
const TIME: Duration = Duration::from_secs(20);

impl Context {
    /// Waits until nothing keeps the node from being ready, as far as `/readyz` knows.
    pub(crate) async fn ready(&self) {
        let (mut installed, mut changes) = (self.installed.follow(), self.store.changes());
        while !self.problems().is_empty() {
            tokio::select! {
                // It cannot end before `self` does.
                _ = installed.changed() => {}
                () = changes.next() => {}
            }
        }
    }

    /// Asks for STATUS as the runtime does.
    ///
    /// # Errors
    /// What the runtime would be told.
    pub(crate) async fn round_trip(&self) -> Result<(), CniError> {
        let call = PluginCall {
            host: self.hosts.for_cleanup()?,
            container_id: String::new(),
            netns: None,
            path: self
                .settings
                .shim_dir
                .iter()
                .map(|dir| self.seen_from_elsewhere(dir))
                .collect(),
            env: BTreeMap::new(),
            deadline: Instant::now() + TIME,
            cancel: CancellationToken::new(),
        };
        self.delegates
            .status(&call, &install::published(&self.settings).await?)
            .await
    }

    /// A directory as this process sees it, by a path that leads there from other mount namespaces, too: the node may
    /// have the directory elsewhere.
    fn seen_from_elsewhere(&self, dir: &Path) -> PathBuf {
        if self.hosts.is_own() {
            return dir.to_owned();
        }
        PathBuf::from(format!("/proc/{}/root", std::process::id()))
            .join(dir.strip_prefix("/").unwrap_or(dir))
    }
}
