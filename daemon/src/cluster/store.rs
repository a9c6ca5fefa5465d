//! The node's pods and all definitions, in memory. Whoever feeds it changes its content; verbs read it, and wait on it
//! for what is not there yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::model::{Pod, PodRef};
use crate::telemetry::CacheReading;

/// A network-attachment-definition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Definition {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// `spec.config`; the specification makes both optional (K-002).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<String>,
    /// The device plugin's resource that its annotation `k8s.v1.cni.cncf.io/resourceName` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource_name: Option<String>,
}

/// The store. Clones are the same store; a read holds its lock for one look-up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store(watch::Sender<Tables>);

/// All that the store holds.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pods: Table<Pod>,
    definitions: Table<Definition>,
    /// Since when the definitions are what they are known as, while they come from a snapshot.
    snapshot: Option<SystemTime>,
}

/// The objects of one kind.
#[derive(Debug)]
pub(super) struct Table<T> {
    /// Whether it has been filled once by its source: only then does "not there" mean anything.
    synced: bool,
    /// Grows with each change.
    revision: u64,
    /// When the source last said that this is how it is.
    confirmed: Option<SystemTime>,
    objects: HashMap<Key, Arc<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            synced: false,
            revision: 0,
            confirmed: None,
            objects: HashMap::new(),
        }
    }
}

/// News of a [`Store`].
#[derive(Debug)]
pub(crate) struct Changes(watch::Receiver<Tables>);

impl Changes {
    /// Waits for a change; one may stand for several. Never ends once the store is gone.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Namespace and name.
type Key = (String, String);

fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}

/// What the store has a table of.
pub(super) trait Object: Sized + PartialEq {
    /// The object's namespace and name.
    fn key(&self) -> (String, String);
    /// Its table.
    fn table(tables: &mut Tables) -> &mut Table<Self>;
}

impl Object for Pod {
    fn key(&self) -> Key {
        key(&self.namespace, &self.name)
    }

    fn table(tables: &mut Tables) -> &mut Table<Self> {
        &mut tables.pods
    }
}

impl Object for Definition {
    fn key(&self) -> Key {
        key(&self.namespace, &self.name)
    }

    fn table(tables: &mut Tables) -> &mut Table<Self> {
        &mut tables.definitions
    }
}

/// A state of the definitions, for whoever writes them down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DefinitionsState {
    /// Grows with each change.
    pub(crate) revision: u64,
    /// When their source last said that this is how they are.
    pub(crate) confirmed: SystemTime,
}

impl Store {
    /// The pod, if it is known.
    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.0
            .borrow()
            .pods
            .objects
            .get(&key(namespace, name))
            .cloned()
    }

    /// Whether the source has said which pods there are, and this one is not among them.
    pub(crate) fn lacks_pod(&self, pod: &PodRef) -> bool {
        let tables = self.0.borrow();
        let known = tables.pods.objects.get(&key(&pod.namespace, &pod.name));
        // A static pod is known as its mirror, which has another UID.
        let is_it = |known: &Arc<Pod>| pod.is_static || pod.uid.is_empty() || known.uid == pod.uid;
        tables.pods.synced && !known.is_some_and(is_it)
    }

    /// All pods, in no order.
    pub(crate) fn pods(&self) -> Vec<Arc<Pod>> {
        self.0.borrow().pods.objects.values().cloned().collect()
    }

    /// The definition, if it is known.
    pub(crate) fn definition(&self, namespace: &str, name: &str) -> Option<Arc<Definition>> {
        self.0
            .borrow()
            .definitions
            .objects
            .get(&key(namespace, name))
            .cloned()
    }

    /// All definitions, in no order.
    pub(super) fn definitions(&self) -> Vec<Arc<Definition>> {
        self.0
            .borrow()
            .definitions
            .objects
            .values()
            .cloned()
            .collect()
    }

    /// The pod, as soon as one is known that `accept` takes; none at `deadline`. A deadline in the past only looks.
    pub(crate) async fn wait_pod(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
        accept: impl Fn(&Pod) -> bool,
    ) -> Option<Arc<Pod>> {
        let key = key(namespace, name);
        self.wait(deadline, |tables| {
            tables
                .pods
                .objects
                .get(&key)
                .filter(|pod| accept(pod))
                .cloned()
        })
        .await
    }

    /// The definition, as soon as it is known; none at `deadline`. A deadline in the past only looks.
    pub(crate) async fn wait_definition(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Option<Arc<Definition>> {
        let key = key(namespace, name);
        self.wait(deadline, |tables| {
            tables.definitions.objects.get(&key).cloned()
        })
        .await
    }

    /// Whether ADD can be served from it: both kinds are known, or the definitions are from a snapshot (decision 17).
    pub(crate) fn synced(&self) -> bool {
        self.0.borrow().synced()
    }

    /// Waits until [`Store::synced`]; whether it is so at `deadline`.
    pub(crate) async fn wait_synced(&self, deadline: Instant) -> bool {
        self.wait(deadline, |tables| tables.synced().then_some(()))
            .await
            .is_some()
    }

    /// What the store is now, for the metrics.
    pub(crate) fn reading(&self) -> CacheReading {
        let tables = self.0.borrow();
        let age = |time: Option<SystemTime>| time.map(|time| time.elapsed().unwrap_or_default());
        CacheReading {
            pods: tables.pods.objects.len(),
            definitions: tables.definitions.objects.len(),
            synced: tables.synced(),
            pods_age: age(tables.pods.confirmed),
            definitions_age: age(tables.definitions.confirmed),
            snapshot_age: age(tables.snapshot),
        }
    }

    /// Waits until the definitions are known, be it from a snapshot; whether they are at `deadline`.
    pub(crate) async fn wait_definitions(&self, deadline: Instant) -> bool {
        self.wait(deadline, |tables| tables.definitions_known().then_some(()))
            .await
            .is_some()
    }

    #[cfg(test)]
    /// From when the definitions are, while they come from a snapshot.
    pub(crate) fn snapshot(&self) -> Option<SystemTime> {
        self.0.borrow().snapshot
    }

    /// Tells of changes from here on.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }

    /// Replaces all that is known; of two with one name the last counts. The store has synced from here on.
    pub(crate) fn replace(&self, pods: Vec<Pod>, definitions: Vec<Definition>) {
        self.0.send_modify(|tables| {
            tables.pods.replace(pods);
            tables.definitions.replace(definitions);
        });
    }

    /// Replaces what is known of one kind, which has synced from here on; of two with one name the last counts.
    pub(super) fn replace_all<T: Object>(&self, objects: Vec<T>) {
        self.0.send_modify(|tables| {
            T::table(tables).replace(objects);
            tables.leave_snapshot();
        });
    }

    /// Adds or changes one object.
    pub(super) fn apply<T: Object>(&self, object: T) {
        self.0
            .send_if_modified(|tables| T::table(tables).apply(object));
    }

    /// Removes one object.
    pub(super) fn remove<T: Object>(&self, namespace: &str, name: &str) {
        self.0
            .send_if_modified(|tables| T::table(tables).remove(&key(namespace, name)));
    }

    /// The source says that what is known of one kind is how it is now.
    pub(super) fn confirm<T: Object>(&self) {
        self.0
            .send_modify(|tables| T::table(tables).confirmed = Some(SystemTime::now()));
    }

    /// The source has no such kind. What is known of it stays, and counts as all there is.
    pub(super) fn none_exist<T: Object>(&self) {
        self.0.send_if_modified(|tables| {
            let known = tables.snapshot.is_some();
            let table = T::table(tables);
            !known && !std::mem::replace(&mut table.synced, true)
        });
    }

    /// Takes definitions that were confirmed at `taken`, for as long as their source has said nothing. Whether it has
    /// not.
    pub(super) fn load_snapshot(&self, definitions: Vec<Definition>, taken: SystemTime) -> bool {
        self.0.send_if_modified(|tables| {
            if tables.definitions.synced {
                return false;
            }
            tables.definitions.objects = by_key(definitions);
            tables.snapshot = Some(taken);
            true
        })
    }

    /// Waits for a state of the definitions, as their source said it, of which `wanted` says that it matters.
    pub(super) async fn wait_state(
        &self,
        wanted: impl Fn(DefinitionsState) -> bool,
    ) -> DefinitionsState {
        let mut changes = self.0.subscribe();
        loop {
            let state = changes.borrow_and_update().state();
            if let Some(state) = state.filter(|state| wanted(*state)) {
                return state;
            }
            // It fails only when the last sender is gone, and `self` is one.
            let _ = changes.changed().await;
        }
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

impl Tables {
    fn definitions_known(&self) -> bool {
        self.definitions.synced || self.snapshot.is_some()
    }

    fn synced(&self) -> bool {
        self.snapshot.is_some() || self.pods.synced && self.definitions.synced
    }

    fn leave_snapshot(&mut self) {
        if self.definitions.synced {
            self.snapshot = None;
        }
    }

    fn state(&self) -> Option<DefinitionsState> {
        let Table {
            revision,
            confirmed,
            ..
        } = self.definitions;
        Some(DefinitionsState {
            revision,
            confirmed: confirmed?,
        })
    }
}

impl<T: Object> Table<T> {
    fn replace(&mut self, objects: Vec<T>) {
        let objects = by_key(objects);
        if self.objects != objects || !self.synced {
            self.objects = objects;
            self.revision += 1;
        }
        self.synced = true;
        self.confirmed = Some(SystemTime::now());
    }

    fn apply(&mut self, object: T) -> bool {
        let key = object.key();
        // A pod's status changes often, and nothing of it is kept here.
        if self
            .objects
            .get(&key)
            .is_some_and(|known| **known == object)
        {
            return false;
        }
        self.objects.insert(key, Arc::new(object));
        self.changed()
    }

    fn remove(&mut self, key: &Key) -> bool {
        self.objects.remove(key).is_some() && self.changed()
    }

    fn changed(&mut self) -> bool {
        self.revision += 1;
        self.confirmed = Some(SystemTime::now());
        true
    }
}

fn by_key<T: Object>(objects: Vec<T>) -> HashMap<Key, Arc<T>> {
    objects
        .into_iter()
        .map(|object| (object.key(), Arc::new(object)))
        .collect()
}

#[cfg(test)]
mod tests;
