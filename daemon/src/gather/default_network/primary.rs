//! Which file of a directory has the default network, while files come and go (decision 32).
//!
//! Upgrades of network plugins remove their file and write it again. The file that was used last is
//! therefore missed for a while before the next one takes its place, also by a daemon that starts
//! in the meantime.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::atomic_file::AtomicFile;
use crate::regular_file;

/// The file in the state directory that names the file that was used last.
const STATE_FILE: &str = "default-network.json";
/// The largest size of that file, in bytes.
const MAX_SIZE: u64 = 64 << 10;

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    file: PathBuf,
}

/// The file that has the default network.
#[derive(Debug)]
pub(super) struct Primary {
    state_file: PathBuf,
    /// `primaryGrace`
    grace: Duration,
    file: Option<PathBuf>,
    missed_since: Option<Instant>,
}

/// What to do with the file that was found first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    Use,
    /// Wait for another file until this time.
    Wait {
        missing: PathBuf,
        until: Instant,
    },
}

impl Primary {
    /// Reads the file that was used last from the state directory.
    pub(super) fn read(state_dir: &Path, grace: Duration) -> Self {
        let state_file = state_dir.join(STATE_FILE);
        let saved = regular_file::read(&state_file, MAX_SIZE).ok();
        Self {
            file: saved
                .and_then(|bytes| serde_json::from_slice::<Saved>(&bytes).ok())
                .map(|saved| saved.file),
            state_file,
            grace,
            missed_since: None,
        }
    }

    /// Decides about the first usable file of a directory. `broken` are the files before it that
    /// cannot be used.
    pub(super) fn choose(&mut self, found: &Path, broken: &[PathBuf], now: Instant) -> Choice {
        let is_beside = |file: &&PathBuf| file.parent() == found.parent();
        let known = self.file.as_ref().filter(is_beside);
        // Before the first choice, a broken file may be one that is being written.
        let expected = known.or_else(|| broken.first()).cloned();
        if let Some(missing) = expected.filter(|expected| **expected < *found) {
            let until = *self.missed_since.get_or_insert(now) + self.grace;
            if now < until {
                return Choice::Wait { missing, until };
            }
        }
        self.adopt(found);
        Choice::Use
    }

    /// The directory has no usable file.
    pub(super) fn miss(&mut self, now: Instant) {
        if self.file.is_some() {
            self.missed_since.get_or_insert(now);
        }
    }

    fn adopt(&mut self, found: &Path) {
        self.missed_since = None;
        if self.file.as_deref() == Some(found) {
            return;
        }
        if let Some(old) = self.file.replace(found.to_owned()) {
            tracing::warn!(
                "the default network changes: {} takes the place of {}",
                found.display(),
                old.display()
            );
        }
        if let Err(error) = self.save(found) {
            tracing::warn!(%error, "the file of the default network cannot be remembered for the next start");
        }
    }

    fn save(&self, file: &Path) -> io::Result<()> {
        let saved = Saved {
            file: file.to_owned(),
        };
        // Another daemon that waits to take over may write the same.
        AtomicFile::new(&self.state_file, 0o600)
            .shared()
            .write(&serde_json::to_vec(&saved)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn file(name: &str) -> PathBuf {
        Path::new("/etc/cni/net.d").join(name)
    }

    fn wait(missing: &str, until: Instant) -> Choice {
        Choice::Wait {
            missing: file(missing),
            until,
        }
    }

    #[test]
    fn a_later_file_takes_the_place_of_a_missing_one_after_the_grace() {
        let state = tempfile::tempdir().expect("a directory");
        let [cilium, aws] = ["05-cilium.conflist", "10-aws.conflist"].map(file);
        let mut primary = Primary::read(state.path(), GRACE);
        let start = Instant::now();
        assert_eq!(primary.choose(&cilium, &[], start), Choice::Use);
        let waiting = wait("05-cilium.conflist", start + GRACE);
        assert_eq!(primary.choose(&aws, &[], start), waiting);
        let late = start + GRACE / 2;
        assert_eq!(primary.choose(&aws, &[], late), waiting);
        // A daemon that starts in the meantime waits as well.
        let mut restarted = Primary::read(state.path(), GRACE);
        let until = late + GRACE;
        assert_eq!(
            restarted.choose(&aws, &[], late),
            wait("05-cilium.conflist", until)
        );
        assert_eq!(restarted.choose(&aws, &[], until), Choice::Use);
        // The file is back, and sorts first.
        assert_eq!(restarted.choose(&cilium, &[], until), Choice::Use);
        assert_eq!(primary.choose(&cilium, &[], late), Choice::Use);
        assert_eq!(
            primary.choose(&aws, &[], until),
            wait("05-cilium.conflist", until + GRACE),
            "each loss has its own grace"
        );
    }

    #[test]
    fn before_the_first_choice_a_broken_file_is_waited_for() {
        let state = tempfile::tempdir().expect("a directory");
        let [cilium, aws] = ["05-cilium.conflist", "10-aws.conflist"].map(file);
        let mut primary = Primary::read(state.path(), GRACE);
        let start = Instant::now();
        let broken = [cilium.clone()];
        assert_eq!(
            primary.choose(&aws, &broken, start),
            wait("05-cilium.conflist", start + GRACE)
        );
        assert_eq!(primary.choose(&aws, &broken, start + GRACE), Choice::Use);
        // The administrator has left it broken: later starts do not wait.
        let mut restarted = Primary::read(state.path(), GRACE);
        assert_eq!(restarted.choose(&aws, &broken, start), Choice::Use);
    }

    #[test]
    fn the_time_without_any_file_counts_and_files_of_other_directories_do_not() {
        let state = tempfile::tempdir().expect("a directory");
        let [cilium, aws] = ["05-cilium.conflist", "10-aws.conflist"].map(file);
        let mut primary = Primary::read(state.path(), GRACE);
        let start = Instant::now();
        primary.choose(&cilium, &[], start);
        primary.miss(start);
        assert_eq!(primary.choose(&aws, &[], start + GRACE), Choice::Use);
        let mut elsewhere = Primary::read(state.path(), GRACE);
        let other = Path::new("/opt/net.d/90-other.conflist");
        assert_eq!(elsewhere.choose(other, &[], start), Choice::Use);
    }
}
