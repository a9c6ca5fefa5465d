//! What an uninstall waits for: pods that Plexus attached and that still exist, and spooled DELs.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

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
    /// `keys` are those of all records. Blocking.
    ///
    /// # Errors
    /// The spool cannot be read.
    pub(super) fn describe(
        &mut self,
        ledger: &Ledger,
        keys: Vec<RecordKey>,
        state_dir: &Path,
    ) -> io::Result<Option<String>> {
        let keys = BTreeSet::from_iter(keys);
        self.settled.retain(|key| keys.contains(key));
        let mut pods = BTreeSet::new();
        for key in keys {
            if self.settled.contains(&key) {
                continue;
            }
            match ledger.summary(&key) {
                Ok(Some(record)) if record.orphaned || record.refusals.count > 0 => {
                    self.settled.insert(key);
                }
                Ok(Some(record)) => {
                    pods.insert(format!("pod {}", record.planned.pod));
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
        Ok(description(&pods, spooled))
    }

    /// The number of records that an uninstall leaves behind.
    pub(super) fn settled(&self) -> usize {
        self.settled.len()
    }
}

fn description(pods: &BTreeSet<String>, spooled: usize) -> Option<String> {
    let mut reasons = Vec::new();
    if !pods.is_empty() {
        let named: Vec<_> = pods.iter().take(MAX_NAMED).map(String::as_str).collect();
        let others = match pods.len() - named.len() {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        reasons.push(format!(
            "until these are deleted: {}{others}",
            named.join(", ")
        ));
    }
    if spooled > 0 {
        reasons.push(format!("until the DELs in the spool succeed ({spooled})"));
    }
    (!reasons.is_empty()).then(|| reasons.join(", and "))
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
    }
}
