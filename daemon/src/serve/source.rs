//! The source of pods and definitions: the cluster that plexusd runs in, the cluster of a
//! kubeconfig, or a directory.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::{Context as _, anyhow};

use crate::cli::ServeArgs;
use crate::cluster::kube::{ApiError, ApiReader, Connection, run_reflectors};
use crate::cluster::{DefinitionSnapshot, Manifests, Store};
use crate::config::{Settings, Switch};
use crate::readiness::StartupTaint;
use crate::report::Reporter;
use crate::telemetry::{ApiLayer, Metrics};

/// The environment variables with this node's name: our own, and that of Multus.
pub(crate) const NODE_NAME_VARIABLES: [&str; 2] = ["NODE_NAME", "MULTUS_NODE_NAME"];

/// The source of the objects in the store.
#[derive(Debug)]
pub(crate) enum ObjectSource {
    /// A directory of manifests.
    Manifests(Manifests),
    /// An API server.
    Cluster(Cluster),
}

/// Creates a reporter.
pub(super) type ReporterFactory = Box<dyn Fn() -> Reporter + Send + Sync>;

/// The cluster of this node.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) connection: Arc<Connection>,
    pub(crate) node: String,
    store: Store,
    snapshot: DefinitionSnapshot,
    /// Whether `ResourceSlices` are watched.
    dra: bool,
}

impl ObjectSource {
    /// Opens the source that the command line names. An API server may be unavailable, but its
    /// credentials must be present.
    ///
    /// # Errors
    /// The directory cannot be read, the node has no name, or there are no credentials.
    pub(crate) async fn open(
        args: &ServeArgs,
        settings: &Settings,
        store: &Store,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        if let Some(dir) = &args.manifests {
            if settings.dra == Switch::On {
                tracing::warn!("dra has no effect with --manifests: there are no claims");
            }
            return Ok(Self::Manifests(Manifests::open(dir, store.clone())?));
        }
        let node = node_name(args.node_name.as_deref(), |name| std::env::var(name).ok())?;
        let connection = Arc::new(Connection::new(
            args.kubeconfig.clone(),
            ApiLayer::new(metrics),
        ));
        // As one text: anyhow would add the causes, which it has, once more.
        let unusable = |error| anyhow!("{}", ApiError::from(error));
        connection.client().await.map_err(unusable)?;
        let snapshot = DefinitionSnapshot::new(
            &settings.state_dir,
            settings.snapshot_max_age,
            store.clone(),
        );
        Ok(Self::Cluster(Cluster {
            connection,
            node,
            store: store.clone(),
            snapshot,
            dra: settings.dra == Switch::On,
        }))
    }

    /// The reader of single objects from the API server. `None` for a directory.
    pub(crate) fn api_reader(&self) -> Option<Arc<ApiReader>> {
        match self {
            Self::Manifests(_) => None,
            Self::Cluster(cluster) => Some(Arc::new(ApiReader::new(cluster.connection.clone()))),
        }
    }

    /// The snapshot of the definitions on disk, which the owner of the state directory keeps.
    /// `None` for a directory.
    pub(super) fn snapshot(&self) -> Option<DefinitionSnapshot> {
        match self {
            Self::Manifests(_) => None,
            Self::Cluster(cluster) => Some(cluster.snapshot.clone()),
        }
    }

    /// The remover of the start-up taint. `None` if `startupTaint` is not set, or for a directory.
    pub(super) fn startup_taint(&self, settings: &Settings) -> Option<StartupTaint> {
        let key = settings.startup_taint.clone()?;
        match self {
            Self::Manifests(_) => {
                tracing::warn!(
                    "startupTaint has no effect with --manifests: there is no node object"
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

    /// Creates the factory of reporters. All reporters share the counter of dropped events.
    pub(super) fn reporter_factory(&self) -> ReporterFactory {
        match self {
            Self::Manifests(manifests) => {
                let dir = manifests.dir().to_owned();
                Box::new(move || Reporter::for_manifests(dir.clone()))
            }
            Self::Cluster(Cluster {
                connection,
                node,
                store,
                ..
            }) => {
                let (connection, node, store) = (connection.clone(), node.clone(), store.clone());
                let events_dropped = Arc::<AtomicU64>::default();
                Box::new(move || {
                    Reporter::for_cluster(
                        connection.clone(),
                        &node,
                        store.clone(),
                        events_dropped.clone(),
                    )
                })
            }
        }
    }

    /// Feeds the store. Never returns.
    pub(crate) async fn run(self) -> Infallible {
        match self {
            Self::Manifests(manifests) => manifests.run().await,
            Self::Cluster(Cluster {
                connection,
                node,
                store,
                snapshot,
                dra,
            }) => {
                let (never, ()) = tokio::join!(
                    run_reflectors(connection, &node, store, dra),
                    snapshot.load_unless_listed()
                );
                never
            }
        }
    }
}

/// The node's name, from the command line or the environment.
fn node_name(
    argument: Option<&str>,
    env: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<String> {
    let from_env = || {
        NODE_NAME_VARIABLES
            .into_iter()
            .find_map(|name| env(name).filter(|value| !value.is_empty()))
    };
    argument.map(str::to_owned).or_else(from_env).filter(|name| !name.is_empty()).context(
        "the node's name is not known: set NODE_NAME, in a DaemonSet from the field spec.nodeName, or pass --node-name",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_name_is_an_argument_or_in_the_environment() {
        let env = |set: &'static [(&str, &str)]| {
            move |name: &str| {
                set.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            }
        };
        let both = env(&[("NODE_NAME", "ours"), ("MULTUS_NODE_NAME", "theirs")]);
        assert_eq!(
            node_name(Some("argument"), both).expect("an argument"),
            "argument"
        );
        assert_eq!(node_name(None, both).expect("in the environment"), "ours");
        let multus = env(&[("NODE_NAME", ""), ("MULTUS_NODE_NAME", "theirs")]);
        assert_eq!(
            node_name(None, multus).expect("in the environment"),
            "theirs"
        );
        for argument in [None, Some("")] {
            let error = node_name(argument, env(&[]))
                .expect_err("no name")
                .to_string();
            assert!(
                error.contains("NODE_NAME") && error.contains("--node-name"),
                "{error}"
            );
        }
    }
}
