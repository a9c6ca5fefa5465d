//! What an uninstall waits for: pods that Plexus attached and that still exist, and spooled DELs.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::cluster::Store;
use crate::ledger::{Ledger, RecordKey};

/// The number of pods that are named.
const MAX_NAMED: usize = 10;

/// The records and spooled DELs that are left.
#[derive(Debug, Default)]
pub(super) struct Remaining {
    /// The records that an uninstall does not wait for, because the runtime is done with their
    /// sandboxes: they are orphaned, or their sandbox is proved to be gone. They stay so.
    settled: BTreeSet<RecordKey>,
}

impl Remaining {
    /// Describes what must end before Plexus can be removed. Returns `None` if there is nothing.
    /// `keys` are those of all records, and `store` has the pods of the node. Blocking.
    ///
    /// # Errors
    /// The spool cannot be read.
    pub(super) fn describe(
        &mut self,
        ledger: &Ledger,
        keys: Vec<RecordKey>,
        store: Option<&Store>,
        state_dir: &Path,
    ) -> io::Result<Option<String>> {
        let keys = BTreeSet::from_iter(keys);
        self.settled.retain(|key| keys.contains(key));
        let (mut pods, mut deleted) = (BTreeSet::new(), BTreeSet::new());
        for key in keys {
            if self.settled.contains(&key) {
                continue;
            }
            match ledger.summary(&key) {
                Ok(Some(record)) if record.orphaned || record.refusals.count > 0 => {
                    self.settled.insert(key);
                }
                Ok(Some(record)) => {
                    let pod = &record.planned.pod;
                    // The runtime has deleted it without Plexus; recovery has to prove that.
                    let is_deleted = store.is_some_and(|store| store.pod_is_absent(pod));
                    let pods = if is_deleted { &mut deleted } else { &mut pods };
                    pods.insert(format!("pod {pod}"));
                }
                // An ADD that writes its plan, or a record that recovery will move away.
                Ok(None) | Err(_) => {
                    pods.insert(format!("container {}", key.container_id));
                }
            }
        }
        let spooled = Ledger::spooled_files(state_dir)
            .map_err(io::Error::other)?
            .len();
        Ok(description(&pods, &deleted, spooled))
    }

    /// The number of records that an uninstall leaves behind.
    pub(super) fn settled(&self) -> usize {
        self.settled.len()
    }
}

fn description(
    pods: &BTreeSet<String>,
    deleted: &BTreeSet<String>,
    spooled: usize,
) -> Option<String> {
    let mut reasons = Vec::new();
    if !pods.is_empty() {
        reasons.push(format!("until these are deleted: {}", named(pods)));
    }
    if !deleted.is_empty() {
        let named = named(deleted);
        reasons.push(format!(
            "until plexusd has cleaned up after these deleted ones, within goneGap and recoveryInterval: {named}"
        ));
    }
    if spooled > 0 {
        reasons.push(format!("until the DELs in the spool succeed ({spooled})"));
    }
    (!reasons.is_empty()).then(|| reasons.join(", and "))
}

fn named(pods: &BTreeSet<String>) -> String {
    let named: Vec<_> = pods.iter().take(MAX_NAMED).map(String::as_str).collect();
    match pods.len() - named.len() {
        0 => named.join(", "),
        others => format!("{} and {others} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_names_some_pods_and_counts_the_others() {
        let pods = |count: usize| {
            (0..count)
                .map(|index| format!("pod ns/p{index:02}"))
                .collect()
        };
        let description = |pods: &_, spooled| description(pods, &BTreeSet::new(), spooled);
        assert_eq!(description(&pods(0), 0), None);
        assert_eq!(
            description(&pods(2), 0).as_deref(),
            Some("until these are deleted: pod ns/p00, pod ns/p01")
        );
        let many = description(&pods(42), 3).expect("a description");
        assert!(
            many.ends_with("pod ns/p09 and 32 more, and until the DELs in the spool succeed (3)"),
            "{many}"
        );
        assert_eq!(
            description(&pods(0), 1).as_deref(),
            Some("until the DELs in the spool succeed (1)")
        );
        let deleted = super::description(&pods(1), &pods(1), 0).expect("a description");
        assert_eq!(
            deleted,
            "until these are deleted: pod ns/p00, and until plexusd has cleaned up after these deleted ones, within \
             goneGap and recoveryInterval: pod ns/p00"
        );
    }
}
