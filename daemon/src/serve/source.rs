//! Where pods and definitions come from: the cluster that plexusd runs in, one by kubeconfig, or a directory.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Context as _;

use crate::cli::Serve;
use crate::cluster::kube::{Connection, Live, feed};
use crate::cluster::{DefinitionSnapshot, Manifests, Store};
use crate::config::Settings;
use crate::report::Reporter;
use crate::startup_taint::StartupTaint;
use crate::telemetry::{ApiLayer, Metrics};

/// The variables that name this node: ours, and Multus'.
const NODE_NAME: [&str; 2] = ["NODE_NAME", "MULTUS_NODE_NAME"];

/// The source of the store.
pub(super) enum ObjectSource {
    /// A directory of manifests.
    Manifests(Manifests),
    /// An API server.
    Cluster(Cluster),
}

/// The cluster of this node.
pub(super) struct Cluster {
    connection: Arc<Connection>,
    node: String,
    store: Store,
    snapshots: DefinitionSnapshot,
}

impl ObjectSource {
    /// The source that the command line names. An API server need not answer, but what it takes to ask it must be
    /// there.
    ///
    /// # Errors
    /// The directory cannot be watched, the node has no name, or there are no credentials.
    pub(super) async fn open(
        args: &Serve,
        settings: &Settings,
        store: &Store,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        if let Some(dir) = &args.manifests {
            return Ok(Self::Manifests(Manifests::open(dir, store.clone())?));
        }
        let node = node_name(args.node_name.as_deref(), |name| std::env::var(name).ok())?;
        let connection = Arc::new(Connection::new(
            args.kubeconfig.clone(),
            ApiLayer::new(metrics),
        ));
        connection.client().await?;
        let snapshots = DefinitionSnapshot::new(
            &settings.state_dir,
            settings.snapshot_max_age,
            store.clone(),
        );
        Ok(Self::Cluster(Cluster {
            connection,
            node,
            store: store.clone(),
            snapshots,
        }))
    }

    /// What asks the API server, where there is one.
    pub(super) fn live(&self) -> Option<Arc<Live>> {
        match self {
            Self::Manifests(_) => None,
            Self::Cluster(cluster) => Some(Arc::new(Live::new(cluster.connection.clone()))),
        }
    }

    /// The definitions on disk, for who owns the state directory to keep them, where there is an API server.
    pub(super) fn snapshots(&self) -> Option<DefinitionSnapshot> {
        match self {
            Self::Manifests(_) => None,
            Self::Cluster(cluster) => Some(cluster.snapshots.clone()),
        }
    }

    /// What takes the start-up taint off the node, where there is one to take off.
    pub(super) fn startup_taint(&self, settings: &Settings) -> Option<StartupTaint> {
        let key = settings.startup_taint.clone()?;
        match self {
            Self::Manifests(_) => {
                tracing::warn!(
                    "startupTaint has no effect with --manifests: there is no node to take it off"
                );
                None
            }
            Self::Cluster(cluster) => Some(StartupTaint::new(
                key,
                &cluster.node,
                cluster.connection.clone(),
            )),
        }
    }

    /// Makes what tells the world of its pods, for who owns the ledger.
    pub(super) fn reporters(&self) -> impl Fn() -> Reporter + use<> {
        let dropped = Arc::<AtomicU64>::default();
        let from = match self {
            Self::Manifests(manifests) => Err(manifests.dir().to_owned()),
            Self::Cluster(Cluster {
                connection,
                node,
                store,
                ..
            }) => Ok((connection.clone(), node.clone(), store.clone())),
        };
        move || match &from {
            Err(manifests) => Reporter::beside(manifests.clone()),
            Ok((connection, node, store)) => {
                Reporter::in_cluster(connection.clone(), node, store.clone(), dropped.clone())
            }
        }
    }

    /// Feeds the store for as long as that is possible, and returns why it is not any more.
    pub(super) async fn run(self) -> anyhow::Error {
        match self {
            Self::Manifests(manifests) => manifests.run().await.into(),
            Self::Cluster(Cluster {
                connection,
                node,
                store,
                snapshots,
            }) => match tokio::join!(feed(connection, &node, store), snapshots.stand_in()).0 {},
        }
    }
}

/// The node's name: given, or by environment.
fn node_name(given: Option<&str>, env: impl Fn(&str) -> Option<String>) -> anyhow::Result<String> {
    let by_env = || {
        NODE_NAME
            .into_iter()
            .find_map(|name| env(name).filter(|value| !value.is_empty()))
    };
    given.map(str::to_owned).or_else(by_env).filter(|name| !name.is_empty()).context(
        "the node's name is not known: set NODE_NAME (in a DaemonSet from the field spec.nodeName), or give --node-name",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_name_is_given_or_in_the_environment() {
        let env = |set: &'static [(&str, &str)]| {
            move |name: &str| {
                set.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            }
        };
        let both = env(&[("NODE_NAME", "ours"), ("MULTUS_NODE_NAME", "theirs")]);
        assert_eq!(node_name(Some("given"), both).expect("given"), "given");
        assert_eq!(node_name(None, both).expect("in the environment"), "ours");
        let multus = env(&[("NODE_NAME", ""), ("MULTUS_NODE_NAME", "theirs")]);
        assert_eq!(
            node_name(None, multus).expect("in the environment"),
            "theirs"
        );
        for given in [None, Some("")] {
            let error = node_name(given, env(&[])).expect_err("nowhere").to_string();
            assert!(
                error.contains("NODE_NAME") && error.contains("--node-name"),
                "{error}"
            );
        }
    }
}
