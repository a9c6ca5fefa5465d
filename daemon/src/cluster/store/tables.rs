//! The tables of the store: one for each kind, keyed by namespace and name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::cluster::definition::Definition;
use crate::cluster::resource_slice::{NodeSlice, ResourceSlice, SharedSlice};
use crate::model::Pod;

/// The content of the store.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(super) pods: Table<Pod>,
    pub(super) definitions: Table<Definition>,
    pub(super) node_slices: Table<NodeSlice>,
    pub(super) shared_slices: Table<SharedSlice>,
    /// The time at which the definitions were last confirmed, while they come from a snapshot.
    pub(super) snapshot: Option<SystemTime>,
}

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Table<T> {
    /// Whether the source has listed the kind. Before that, a missing object proves nothing.
    synced: bool,
    /// Incremented with each change.
    pub(super) revision: u64,
    /// The time at which the source last confirmed the content.
    confirmed: Option<SystemTime>,
    /// Why the source does not deliver the kind, until the source lists or watches it again.
    failure: Option<String>,
    objects: HashMap<NamespacedName, Arc<T>>,
}

type NamespacedName = (String, String);

fn key(namespace: &str, name: &str) -> NamespacedName {
    (namespace.to_owned(), name.to_owned())
}

/// An object that the store keeps.
pub(crate) trait StoredObject: Sized + PartialEq {
    fn namespace(&self) -> &str;
    fn name(&self) -> &str;
    /// The table of this kind.
    fn table(tables: &mut Tables) -> &mut Table<Self>;
}

impl StoredObject for Pod {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn table(tables: &mut Tables) -> &mut Table<Self> {
        &mut tables.pods
    }
}

impl StoredObject for Definition {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn table(tables: &mut Tables) -> &mut Table<Self> {
        &mut tables.definitions
    }
}

/// A `ResourceSlice` has no namespace.
impl StoredObject for NodeSlice {
    fn namespace(&self) -> &'static str {
        ""
    }

    fn name(&self) -> &str {
        &self.0.name
    }

    fn table(tables: &mut Tables) -> &mut Table<Self> {
        &mut tables.node_slices
    }
}

impl StoredObject for SharedSlice {
    fn namespace(&self) -> &'static str {
        ""
    }

    fn name(&self) -> &str {
        &self.0.name
    }

    fn table(tables: &mut Tables) -> &mut Table<Self> {
        &mut tables.shared_slices
    }
}

/// The revision of the definitions and the time of their last confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DefinitionsVersion {
    pub(crate) revision: u64,
    pub(crate) confirmed: SystemTime,
}

impl Tables {
    pub(super) fn definitions_known(&self) -> bool {
        self.definitions.synced || self.snapshot.is_some()
    }

    pub(super) fn is_synced(&self) -> bool {
        self.snapshot.is_some() || self.pods.synced && self.definitions.synced
    }

    /// Uses definitions from a snapshot unless the source has listed the definitions. Returns
    /// whether they are used.
    pub(super) fn load_snapshot(
        &mut self,
        definitions: Vec<Definition>,
        confirmed: SystemTime,
    ) -> bool {
        if self.definitions.synced {
            return false;
        }
        self.definitions.objects = by_key(definitions);
        self.snapshot = Some(confirmed);
        true
    }

    /// Ends the use of a snapshot once the definitions have been listed.
    pub(super) fn leave_snapshot(&mut self) {
        if self.definitions.synced {
            self.snapshot = None;
        }
    }

    /// All `ResourceSlices`, in no particular order.
    pub(super) fn slices(&self) -> Vec<Arc<ResourceSlice>> {
        let own = self.node_slices.objects.values();
        let shared = self.shared_slices.objects.values();
        let own = own.map(|slice| slice.0.clone());
        own.chain(shared.map(|slice| slice.0.clone())).collect()
    }

    pub(super) fn slices_are_synced(&self) -> bool {
        self.node_slices.synced && self.shared_slices.synced
    }

    /// Returns `None` if the source has not listed the definitions yet.
    pub(super) fn definitions_version(&self) -> Option<DefinitionsVersion> {
        Some(DefinitionsVersion {
            revision: self.definitions.revision,
            confirmed: self.definitions.confirmed?,
        })
    }
}

impl<T> Table<T> {
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.objects.get(&key(namespace, name))
    }

    pub(super) fn all(&self) -> Vec<Arc<T>> {
        self.objects.values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    pub(super) fn confirmed(&self) -> Option<SystemTime> {
        self.confirmed
    }

    /// Records that the source has just confirmed the content.
    pub(super) fn confirm(&mut self) {
        self.confirmed = Some(SystemTime::now());
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Returns whether that is a change.
    pub(super) fn set_failure(&mut self, failure: Option<String>) -> bool {
        let is_changed = self.failure != failure;
        self.failure = failure;
        is_changed
    }

    /// Marks the table as synced without a list. Returns whether that is a change.
    pub(super) fn mark_synced(&mut self) -> bool {
        !std::mem::replace(&mut self.synced, true)
    }
}

impl<T: StoredObject> Table<T> {
    pub(super) fn replace(&mut self, objects: Vec<T>) {
        let mut objects = by_key(objects);
        // An unchanged definition keeps what its configuration was parsed to.
        for (key, object) in &mut objects {
            if let Some(known) = self.objects.get(key).filter(|known| *known == object) {
                *object = Arc::clone(known);
            }
        }
        if self.objects != objects || !self.synced {
            self.objects = objects;
            self.revision += 1;
        }
        self.synced = true;
        self.confirm();
    }

    /// Adds or replaces an object. Returns whether that is a change.
    pub(super) fn apply(&mut self, object: T) -> bool {
        let key = key(object.namespace(), object.name());
        // The status of a pod changes often, but the table keeps nothing of it.
        if self
            .objects
            .get(&key)
            .is_some_and(|known| **known == object)
        {
            return false;
        }
        self.objects.insert(key, Arc::new(object));
        self.changed();
        true
    }

    /// Removes an object. Returns whether that is a change.
    pub(super) fn remove(&mut self, namespace: &str, name: &str) -> bool {
        let removed = self.objects.remove(&key(namespace, name)).is_some();
        if removed {
            self.changed();
        }
        removed
    }

    fn changed(&mut self) {
        self.revision += 1;
        self.confirm();
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            synced: false,
            revision: 0,
            confirmed: None,
            failure: None,
            objects: HashMap::new(),
        }
    }
}

fn by_key<T: StoredObject>(objects: Vec<T>) -> HashMap<NamespacedName, Arc<T>> {
    objects
        .into_iter()
        .map(|object| (key(object.namespace(), object.name()), Arc::new(object)))
        .collect()
}
