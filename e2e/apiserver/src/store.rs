//! The stored objects, and the history of their changes.
//!
//! One resource version counts all changes of all objects. A watch is a cursor over the history;
//! nothing is queued for it. A list at an earlier resource version is the current table with later
//! changes reverted.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use crate::object;
use crate::resources::Resources;

/// The maximum number of changes in the history.
const HISTORY_LIMIT: usize = 50_000;

/// A change of one object.
#[derive(Debug, Clone)]
pub struct Change {
    /// The resource version of the change.
    pub resource_version: u64,
    /// The name of the table.
    pub table: Arc<str>,
    /// The object's key.
    pub key: String,
    /// The object before the change; `None` if it was created.
    pub before: Option<Arc<Value>>,
    /// The object after the change; `None` if it was deleted.
    pub after: Option<Arc<Value>>,
}

/// The objects of a resource, by `namespace/name` or `name`.
pub type Table = BTreeMap<String, Arc<Value>>;

/// The objects of all resources.
#[derive(Debug)]
pub struct Store {
    /// The resources that are served.
    pub resources: Resources,
    resource_version: u64,
    oldest: u64,
    last_dropped: u64,
    tables: BTreeMap<String, Table>,
    history: VecDeque<Change>,
    changed: watch::Sender<u64>,
}

impl Store {
    /// A store without objects.
    pub fn new() -> Self {
        Self {
            resources: Resources::built_in(),
            resource_version: 1,
            oldest: 1,
            last_dropped: 0,
            tables: BTreeMap::new(),
            history: VecDeque::new(),
            changed: watch::Sender::new(1),
        }
    }

    /// Subscribes to new resource versions.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The latest resource version.
    pub fn resource_version(&self) -> u64 {
        self.resource_version
    }

    /// The oldest resource version at which a list or a new watch can start.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// The latest resource version that was dropped from the history. Running watches that have not
    /// reached it expire.
    pub fn last_dropped(&self) -> u64 {
        self.last_dropped
    }

    pub fn get(&self, table: &str, key: &str) -> Option<&Arc<Value>> {
        self.tables.get(table)?.get(key)
    }

    /// The current objects of a table.
    pub fn table(&self, name: &str) -> Table {
        self.tables.get(name).cloned().unwrap_or_default()
    }

    /// The objects of a table at an earlier resource version, not older than
    /// [`oldest`](Self::oldest).
    pub fn table_at(&self, name: &str, resource_version: u64) -> Table {
        let mut table = self.table(name);
        let later = self
            .history
            .iter()
            .rev()
            .take_while(|change| change.resource_version > resource_version);
        for change in later.filter(|change| &*change.table == name) {
            match &change.before {
                Some(before) => table.insert(change.key.clone(), before.clone()),
                None => table.remove(&change.key),
            };
        }
        table
    }

    /// All tables and keys of objects whose key begins with `prefix`.
    pub fn keys_with_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (name, table) in &self.tables {
            let keys = table
                .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
                .map(|(key, _)| key)
                .take_while(|key| key.starts_with(prefix));
            found.extend(keys.map(|key| (name.clone(), key.clone())));
        }
        found
    }

    /// The changes of a table after a resource version.
    pub fn changes_since(
        &self,
        table: &str,
        resource_version: u64,
    ) -> impl Iterator<Item = &Change> {
        let start = self
            .history
            .partition_point(|change| change.resource_version <= resource_version);
        self.history
            .range(start..)
            .filter(move |change| &*change.table == table)
    }

    /// Creates or replaces an object. Returns the object with its new resource version.
    pub fn put(&mut self, table: &str, key: &str, mut object: Value) -> Arc<Value> {
        self.resource_version += 1;
        object::set_resource_version(&mut object, self.resource_version);
        let object = Arc::new(object);
        let before = self
            .tables
            .entry(table.to_owned())
            .or_default()
            .insert(key.to_owned(), object.clone());
        self.record(table, key, before, Some(object.clone()));
        object
    }

    /// Removes an object. Returns its last state with the resource version of the removal.
    pub fn remove(&mut self, table: &str, key: &str) -> Option<Arc<Value>> {
        let before = self.tables.get_mut(table)?.remove(key)?;
        self.resource_version += 1;
        let mut last = Value::clone(&before);
        object::set_resource_version(&mut last, self.resource_version);
        self.record(table, key, Some(before), None);
        Some(Arc::new(last))
    }

    /// Compacts the history: lists and new watches can no longer start at earlier resource
    /// versions. Running watches continue.
    pub fn compact(&mut self) {
        self.resource_version += 1;
        self.oldest = self.resource_version;
        self.changed.send_replace(self.resource_version);
    }

    fn record(
        &mut self,
        table: &str,
        key: &str,
        before: Option<Arc<Value>>,
        after: Option<Arc<Value>>,
    ) {
        let change = Change {
            resource_version: self.resource_version,
            table: table.into(),
            key: key.into(),
            before,
            after,
        };
        self.history.push_back(change);
        if self.history.len() > HISTORY_LIMIT
            && let Some(dropped) = self.history.pop_front()
        {
            self.last_dropped = dropped.resource_version;
            self.oldest = self.oldest.max(dropped.resource_version);
        }
        self.changed.send_replace(self.resource_version);
    }
}
