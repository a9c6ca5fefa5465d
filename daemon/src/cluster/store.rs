//! An in-memory store of the node's pods and of all definitions. A source feeds the store;
//! operations read from the store and wait for objects that have not arrived yet.

mod tables;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::definition::Definition;
use super::resource_slice::ResourceSlice;
use crate::model::{Pod, PodRef};
use crate::telemetry::CacheReading;
use tables::Tables;
pub(crate) use tables::{DefinitionsVersion, StoredObject};

/// The store. Clones share their content. Readers hold the lock only for one look-up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store(watch::Sender<Tables>);

/// A subscription to the changes of a [`Store`].
#[derive(Debug)]
pub(crate) struct StoreChanges(watch::Receiver<Tables>);

impl StoreChanges {
    /// Waits for the next change. Several changes may be reported as one. Never returns once the
    /// store is dropped.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Operations for readers.
impl Store {
    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.0.borrow().pods.get(namespace, name).cloned()
    }

    /// Whether the source has listed the pods, and `pod` is not among them.
    pub(crate) fn pod_is_absent(&self, pod: &PodRef) -> bool {
        let tables = self.0.borrow();
        let known = tables.pods.get(&pod.namespace, &pod.name);
        // The store has the mirror of a static pod, which has another UID.
        let same = |known: &Arc<Pod>| pod.is_static || pod.uid.is_empty() || known.uid == pod.uid;
        tables.pods.is_synced() && !known.is_some_and(same)
    }

    /// All pods, in no particular order.
    pub(crate) fn pods(&self) -> Vec<Arc<Pod>> {
        self.0.borrow().pods.all()
    }

    pub(crate) fn definition(&self, namespace: &str, name: &str) -> Option<Arc<Definition>> {
        self.0.borrow().definitions.get(namespace, name).cloned()
    }

    /// All definitions, in no particular order.
    pub(crate) fn definitions(&self) -> Vec<Arc<Definition>> {
        self.0.borrow().definitions.all()
    }

    /// Waits for a pod that `accept` accepts. Returns `None` at `deadline`. With a deadline in the
    /// past, looks once without waiting.
    pub(crate) async fn wait_pod(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
        accept: impl Fn(&Pod) -> bool,
    ) -> Option<Arc<Pod>> {
        self.wait(deadline, |tables| {
            let pod = tables.pods.get(namespace, name);
            pod.filter(|pod| accept(pod)).cloned()
        })
        .await
    }

    /// Waits for a definition. Returns `None` at `deadline`. With a deadline in the past, looks
    /// once without waiting.
    pub(crate) async fn wait_definition(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Option<Arc<Definition>> {
        self.wait(deadline, |tables| {
            tables.definitions.get(namespace, name).cloned()
        })
        .await
    }

    /// Whether ADD can be served: both kinds have been listed, or the definitions come from a
    /// snapshot (decision 17).
    pub(crate) fn is_synced(&self) -> bool {
        self.0.borrow().is_synced()
    }

    /// Waits until [`Store::is_synced`]. Returns `false` at `deadline`.
    pub(crate) async fn wait_synced(&self, deadline: Instant) -> bool {
        self.wait(deadline, |tables| tables.is_synced().then_some(()))
            .await
            .is_some()
    }

    /// Why the source does not deliver pods or definitions, one line. `None` if it does, or has not
    /// failed yet.
    pub(crate) fn failure(&self) -> Option<String> {
        let tables = self.0.borrow();
        joined([tables.pods.failure(), tables.definitions.failure()])
    }

    /// All `ResourceSlices`, in no particular order. Empty without DRA.
    pub(crate) fn slices(&self) -> Vec<Arc<ResourceSlice>> {
        self.0.borrow().slices()
    }

    /// Whether the source has listed all `ResourceSlices`.
    pub(crate) fn slices_are_synced(&self) -> bool {
        self.0.borrow().slices_are_synced()
    }

    /// Why the source does not deliver `ResourceSlices`, one line. Only networks with devices of
    /// claims depend on them, so this is no part of [`Store::failure`].
    pub(crate) fn slices_failure(&self) -> Option<String> {
        let tables = self.0.borrow();
        joined([tables.node_slices.failure(), tables.shared_slices.failure()])
    }

    /// The current figures, for the metrics.
    pub(crate) fn reading(&self) -> CacheReading {
        let tables = self.0.borrow();
        let age = |time: Option<SystemTime>| time.map(|time| time.elapsed().unwrap_or_default());
        CacheReading {
            pods: tables.pods.len(),
            definitions: tables.definitions.len(),
            slices: tables.node_slices.len() + tables.shared_slices.len(),
            synced: tables.is_synced(),
            pods_age: age(tables.pods.confirmed()),
            definitions_age: age(tables.definitions.confirmed()),
            slices_age: age(tables.node_slices.confirmed())
                .zip(age(tables.shared_slices.confirmed()))
                .map(|(own, shared)| own.max(shared)),
            snapshot_age: age(tables.snapshot),
        }
    }

    /// Waits until the definitions are known, from the source or from a snapshot. Returns `false`
    /// at `deadline`.
    pub(crate) async fn wait_definitions(&self, deadline: Instant) -> bool {
        self.wait(deadline, |tables| tables.definitions_known().then_some(()))
            .await
            .is_some()
    }

    /// A number that changes with each change of a definition.
    pub(crate) fn definitions_revision(&self) -> u64 {
        self.0.borrow().definitions.revision
    }

    /// Subscribes to changes from now on.
    pub(crate) fn changes(&self) -> StoreChanges {
        StoreChanges(self.0.subscribe())
    }

    /// Waits until the source has listed the definitions and `wanted` accepts their version.
    pub(super) async fn wait_definitions_version(
        &self,
        wanted: impl Fn(DefinitionsVersion) -> bool,
    ) -> DefinitionsVersion {
        let mut changes = self.0.subscribe();
        loop {
            let version = changes.borrow_and_update().definitions_version();
            if let Some(version) = version.filter(|version| wanted(*version)) {
                return version;
            }
            // Fails only without a sender, and `self` is one.
            let _ = changes.changed().await;
        }
    }

    async fn wait<T>(&self, deadline: Instant, find: impl Fn(&Tables) -> Option<T>) -> Option<T> {
        let mut found = None;
        let mut changes = self.0.subscribe();
        let appears = changes.wait_for(|tables| {
            found = find(tables);
            found.is_some()
        });
        let _ = timeout_at(deadline, appears).await;
        found
    }
}

/// Operations for sources.
impl Store {
    /// Replaces the whole content and marks both kinds as listed. Of two objects with the same
    /// name, the last one wins.
    pub(crate) fn replace(&self, pods: Vec<Pod>, definitions: Vec<Definition>) {
        self.0.send_modify(|tables| {
            tables.pods.replace(pods);
            tables.definitions.replace(definitions);
        });
    }

    /// Replaces all objects of one kind and marks the kind as listed. Of two objects with the same
    /// name, the last one wins.
    pub(super) fn replace_all<T: StoredObject>(&self, objects: Vec<T>) {
        self.0.send_modify(|tables| {
            T::table(tables).replace(objects);
            tables.leave_snapshot();
        });
    }

    pub(super) fn apply<T: StoredObject>(&self, object: T) {
        self.0
            .send_if_modified(|tables| T::table(tables).apply(object));
    }

    pub(super) fn remove<T: StoredObject>(&self, namespace: &str, name: &str) {
        self.0
            .send_if_modified(|tables| T::table(tables).remove(namespace, name));
    }

    /// Records that the source has confirmed the current objects of one kind.
    pub(super) fn confirm<T: StoredObject>(&self) {
        self.0.send_modify(|tables| T::table(tables).confirm());
    }

    /// Records that the source does not have the kind. Known objects stay, as if the source had
    /// listed them.
    pub(super) fn mark_kind_missing<T: StoredObject>(&self) {
        self.0
            .send_if_modified(|tables| tables.snapshot.is_none() && T::table(tables).mark_synced());
    }

    /// Records why the source does not deliver a kind, or that the source delivers it again.
    pub(super) fn set_failure<T: StoredObject>(&self, failure: Option<String>) {
        self.0
            .send_if_modified(|tables| T::table(tables).set_failure(failure));
    }

    /// Loads definitions that were last confirmed at `confirmed`, unless the source has listed
    /// them. Returns whether they were loaded.
    pub(super) fn load_snapshot(
        &self,
        definitions: Vec<Definition>,
        confirmed: SystemTime,
    ) -> bool {
        self.0
            .send_if_modified(|tables| tables.load_snapshot(definitions, confirmed))
    }

    /// The time at which the definitions were last confirmed, while they come from a snapshot.
    #[cfg(test)]
    pub(crate) fn snapshot(&self) -> Option<SystemTime> {
        self.0.borrow().snapshot
    }
}

fn joined(failures: [Option<&str>; 2]) -> Option<String> {
    let failures: BTreeSet<_> = failures.into_iter().flatten().collect();
    let failures: Vec<_> = failures.into_iter().collect();
    (!failures.is_empty()).then(|| failures.join("; "))
}

#[cfg(test)]
mod tests;
