//! The durable marker of an uninstall (decision 40): the file `uninstalling` in the state
//! directory, written before an uninstall removes anything.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::atomic_file::{remove_if_present, with_path};
use crate::durable::{sync, sync_dir};

const FILE: &str = "uninstalling";

/// The marker of a state directory. Blocking.
#[derive(Debug, Clone)]
pub(crate) struct UninstallMarker {
    state_dir: PathBuf,
}

impl UninstallMarker {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
        }
    }

    /// Whether an uninstall has begun. An error counts as yes, because an installation that must
    /// not happen does more harm than one that is late.
    pub(crate) fn is_set(&self) -> bool {
        match self.path().symlink_metadata() {
            Err(error) => error.kind() != io::ErrorKind::NotFound,
            Ok(_) => true,
        }
    }

    /// Writes the marker. After success the marker survives a power loss.
    ///
    /// # Errors
    /// I/O errors, with the path.
    pub(super) fn set(&self) -> io::Result<()> {
        let path = self.path();
        // Synced even if the file exists: its writer may have been killed before the sync.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .and_then(|file| sync(&file))
            .and_then(|()| sync_dir(&self.state_dir))
            .map_err(|error| with_path(&path, &error))
    }

    /// Removes the marker. After success the removal survives a power loss.
    ///
    /// # Errors
    /// I/O errors, with the path.
    pub(super) fn clear(&self) -> io::Result<()> {
        let path = self.path();
        remove_if_present(&path)?;
        sync_dir(&self.state_dir).map_err(|error| with_path(&path, &error))
    }

    fn path(&self) -> PathBuf {
        self.state_dir.join(FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::recorder::{self, Synced};

    #[test]
    fn the_marker_and_its_removal_survive_a_power_loss() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().canonicalize().expect("a path");
        let marker = UninstallMarker::new(&dir);
        let with_names = |names: &[&str]| Synced::Dir {
            path: dir.clone(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let file = Synced::File {
            path: dir.join(FILE),
            content: Vec::new(),
        };
        recorder::take();
        // The writer of an existing marker may have been killed before the sync.
        for _ in 0..2 {
            marker.set().expect("set");
            assert!(marker.is_set());
            assert_eq!(recorder::take(), [file.clone(), with_names(&[FILE])]);
        }
        marker.clear().expect("clear");
        assert!(!marker.is_set());
        assert_eq!(recorder::take(), [with_names(&[])]);
    }
}
