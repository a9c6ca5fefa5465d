//! The node's pods and all definitions, in memory. Whoever feeds it replaces its content; verbs read it, and wait on it
//! for what is not there yet.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::plan::Pod;

/// A network-attachment-definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definition {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spec.config`; the specification makes both optional (K-002).
    pub config: Option<String>,
    /// The device plugin's resource that its annotation `k8s.v1.cni.cncf.io/resourceName` names.
    pub resource_name: Option<String>,
}

/// The store. Clones are the same store; a read holds its lock for one look-up.
#[derive(Debug, Clone, Default)]
pub struct Store(watch::Sender<Tables>);

#[derive(Debug, Default)]
struct Tables {
    synced: bool,
    pods: HashMap<Key, Arc<Pod>>,
    definitions: HashMap<Key, Arc<Definition>>,
}

/// News of a [`Store`].
#[derive(Debug)]
pub struct Changes(watch::Receiver<Tables>);

impl Changes {
    /// Waits for a change; one may stand for several. Never ends once the store is gone.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Namespace and name.
type Key = (String, String);

fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}

impl Store {
    /// The pod, if it is known.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.0.borrow().pods.get(&key(namespace, name)).cloned()
    }

    /// The definition, if it is known.
    pub fn definition(&self, namespace: &str, name: &str) -> Option<Arc<Definition>> {
        self.0.borrow().definitions.get(&key(namespace, name)).cloned()
    }

    /// The pod, as soon as it is known; none at `deadline`. A deadline in the past only looks.
    pub async fn wait_pod(&self, namespace: &str, name: &str, deadline: Instant) -> Option<Arc<Pod>> {
        let key = key(namespace, name);
        self.wait(deadline, |tables| tables.pods.get(&key).cloned()).await
    }

    /// The definition, as soon as it is known; none at `deadline`. A deadline in the past only looks.
    pub async fn wait_definition(&self, namespace: &str, name: &str, deadline: Instant) -> Option<Arc<Definition>> {
        let key = key(namespace, name);
        self.wait(deadline, |tables| tables.definitions.get(&key).cloned()).await
    }

    /// Whether the store has been filled once: only then does "not there" mean anything.
    pub fn synced(&self) -> bool {
        self.0.borrow().synced
    }

    /// Waits until the store has been filled once.
    pub async fn wait_synced(&self) {
        // It fails only when the last sender is gone, and `self` is one.
        let _ = self.0.subscribe().wait_for(|tables| tables.synced).await;
    }

    /// Tells of changes from here on.
    pub fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }

    /// Replaces all that is known; of two with one name the last counts. The store has synced from here on.
    pub fn replace(&self, pods: Vec<Pod>, definitions: Vec<Definition>) {
        let pods = pods.into_iter().map(|pod| (key(&pod.namespace, &pod.name), Arc::new(pod))).collect();
        let definitions =
            definitions.into_iter().map(|found| (key(&found.namespace, &found.name), Arc::new(found))).collect();
        self.0.send_modify(|tables| *tables = Tables { synced: true, pods, definitions });
    }

    async fn wait<T>(&self, deadline: Instant, look: impl Fn(&Tables) -> Option<T>) -> Option<T> {
        let mut found = None;
        let mut changes = self.0.subscribe();
        let appears = changes.wait_for(|tables| {
            found = look(tables);
            found.is_some()
        });
        let _ = timeout_at(deadline, appears).await;
        found
    }
}

#[cfg(test)]
mod tests;
