//! What the server holds: objects, one revision that counts all changes, and the changes themselves.
//!
//! A watch is a cursor over the changes; nothing is queued for it. A list of an earlier revision is the present with
//! the changes since then taken back.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::kinds::Kinds;
use super::object;

/// How many changes are remembered.
const HISTORY: usize = 50_000;

/// One change of one object.
#[derive(Debug, Clone)]
pub struct Change {
    /// The revision that it made.
    pub revision: u64,
    /// Which resource it was.
    pub storage: Arc<str>,
    /// The object's key.
    pub key: String,
    /// The object before.
    pub before: Option<Arc<Value>>,
    /// The object after.
    pub after: Option<Arc<Value>>,
}

/// The objects of a resource by `namespace/name` or `name`.
pub type Table = BTreeMap<String, Arc<Value>>;

/// Everything that the server holds.
#[derive(Debug)]
pub struct Store {
    /// The resources that are served.
    pub kinds: Kinds,
    revision: u64,
    oldest: u64,
    forgotten: u64,
    tables: BTreeMap<String, Table>,
    history: VecDeque<Change>,
    announce: watch::Sender<u64>,
}

impl Store {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            kinds: Kinds::built_in(),
            revision: 1,
            oldest: 1,
            forgotten: 0,
            tables: BTreeMap::new(),
            history: VecDeque::new(),
            announce: watch::Sender::new(1),
        }
    }

    /// Tells of every new revision.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.announce.subscribe()
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The oldest revision from which all later changes are still told.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// The newest revision whose change is not known any more, not even to watches that run.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// An object.
    pub fn get(&self, storage: &str, key: &str) -> Option<&Arc<Value>> {
        self.tables.get(storage)?.get(key)
    }

    /// The objects of a resource now.
    pub fn table(&self, storage: &str) -> Table {
        self.tables.get(storage).cloned().unwrap_or_default()
    }

    /// The objects of a resource as they were at `revision`, which is not before [`oldest`](Self::oldest).
    pub fn table_at(&self, storage: &str, revision: u64) -> Table {
        let mut table = self.table(storage);
        for change in self
            .history
            .iter()
            .rev()
            .take_while(|change| change.revision > revision)
        {
            if &*change.storage == storage {
                match &change.before {
                    Some(before) => table.insert(change.key.clone(), before.clone()),
                    None => table.remove(&change.key),
                };
            }
        }
        table
    }

    /// The resources that have objects whose key begins with `prefix`, with those keys.
    pub fn keys_below(&self, prefix: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (storage, table) in &self.tables {
            let keys = table
                .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
                .map(|(key, _)| key);
            found.extend(
                keys.take_while(|key| key.starts_with(prefix))
                    .map(|key| (storage.clone(), key.clone())),
            );
        }
        found
    }

    /// The changes of a resource after `revision`.
    pub fn changes_since(&self, storage: &str, revision: u64) -> impl Iterator<Item = &Change> {
        let start = self
            .history
            .partition_point(|change| change.revision <= revision);
        self.history
            .range(start..)
            .filter(move |change| &*change.storage == storage)
    }

    /// Puts an object in place. The answer is what it now is, resource version included.
    pub fn put(&mut self, storage: &str, key: &str, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        object::set_meta(&mut object, "resourceVersion", self.revision.to_string());
        let object = Arc::new(object);
        let table = self.tables.entry(storage.to_owned()).or_default();
        let before = table.insert(key.to_owned(), object.clone());
        self.remember(storage, key, before, Some(object.clone()));
        object
    }

    /// Removes an object. The answer is its last state, with the revision of its end.
    pub fn remove(&mut self, storage: &str, key: &str) -> Option<Arc<Value>> {
        let before = self.tables.get_mut(storage)?.remove(key)?;
        self.revision += 1;
        let last = Arc::new(object::at_revision(&before, self.revision));
        self.remember(storage, key, Some(before), None);
        Some(last)
    }

    /// Tells no one any more who starts from a revision before now, and makes every revision that anyone has seen such
    /// a one. Watches that run go on.
    pub fn compact(&mut self) {
        self.revision += 1;
        self.oldest = self.revision;
        self.announce.send_replace(self.revision);
    }

    fn remember(
        &mut self,
        storage: &str,
        key: &str,
        before: Option<Arc<Value>>,
        after: Option<Arc<Value>>,
    ) {
        let change = Change {
            revision: self.revision,
            storage: storage.into(),
            key: key.into(),
            before,
            after,
        };
        self.history.push_back(change);
        if self.history.len() > HISTORY
            && let Some(forgotten) = self.history.pop_front()
        {
            self.forgotten = forgotten.revision;
            self.oldest = self.oldest.max(forgotten.revision);
        }
        self.announce.send_replace(self.revision);
    }
}
