//! The pods that were attached a moment ago, for the reconciler of hot-plug.

use std::collections::BTreeSet;
use std::sync::Mutex;

use tokio::sync::Notify;

use crate::config::Switch;
use crate::mutex::lock;

/// Namespace and name.
pub(crate) type PodName = (String, String);

/// A queue without duplicates. Stays empty without hot-plug.
#[derive(Debug)]
pub(crate) struct AttachedPods {
    hotplug: Switch,
    pods: Mutex<BTreeSet<PodName>>,
    changed: Notify,
}

impl AttachedPods {
    pub(crate) fn new(hotplug: Switch) -> Self {
        Self {
            hotplug,
            pods: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(crate) fn add(&self, namespace: &str, name: &str) {
        if self.hotplug == Switch::On {
            lock(&self.pods).insert((namespace.to_owned(), name.to_owned()));
            self.changed.notify_one();
        }
    }

    /// Takes all pods out of the queue. Waits until there is one.
    pub(crate) async fn next(&self) -> BTreeSet<PodName> {
        loop {
            let pods = std::mem::take(&mut *lock(&self.pods));
            if !pods.is_empty() {
                return pods;
            }
            self.changed.notified().await;
        }
    }
}
