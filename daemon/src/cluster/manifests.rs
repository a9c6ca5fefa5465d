//! A directory of YAML manifests instead of an API server: for nodes without a cluster, the demo
//! and tests.
//!
//! Pods and network-attachment-definitions are read from `*.yaml` and `*.yml`; other kinds are
//! ignored. Of two objects with the same name, the one in the last file by name wins.
//! Network-status is written beside the manifests.

mod parse;
mod status_file;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use futures_util::StreamExt as _;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchMask};
use tracing::error;

use super::store::Store;
use crate::dir_watcher::with_limit;
use crate::regular_file;
use parse::{ManifestObjects, parse};
pub(crate) use status_file::{remove_status, write_status};

/// The largest file that is read, in bytes: some thousand definitions.
const MAX_SIZE: u64 = 32 << 20;

/// A watched directory of manifests that feeds a store.
#[derive(Debug)]
pub(crate) struct Manifests {
    dir: PathBuf,
    store: Store,
    events: EventStream<Vec<u8>>,
    /// The last valid content of each file, by file name.
    files: BTreeMap<String, ManifestObjects>,
}

impl Manifests {
    /// Watches `dir`, reads all files and fills `store`, which is synced then. A broken file is
    /// logged and ignored. Blocks while it reads, and needs a Tokio runtime.
    ///
    /// # Errors
    /// The directory cannot be watched or listed. The error names the directory.
    pub(crate) fn open(dir: &Path, store: Store) -> io::Result<Self> {
        let with_dir = |error: io::Error| {
            let error = with_limit(error);
            let msg = format!(
                "manifests directory {} cannot be watched: {error}",
                dir.display()
            );
            io::Error::new(error.kind(), msg)
        };
        let inotify = Inotify::init().map_err(with_dir)?;
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        // The watch starts before the first read, so that no change is missed.
        inotify.watches().add(dir, mask).map_err(with_dir)?;
        let events = inotify.into_event_stream(vec![0; 4096]).map_err(with_dir)?;
        let mut manifests = Self {
            dir: dir.to_owned(),
            store,
            events,
            files: BTreeMap::new(),
        };
        manifests.read_all().map_err(with_dir)?;
        manifests.publish();
        Ok(manifests)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Follows the directory until that fails, and returns the error. The store keeps its content.
    /// A file that is broken or partly written keeps its last valid content.
    pub(crate) async fn run(mut self) -> io::Error {
        let gone =
            |dir: &Path| io::Error::other(format!("manifests directory {} is gone", dir.display()));
        while let Some(event) = self.events.next().await {
            let changed = match event {
                Err(error) => return error,
                Ok(event) if event.mask.intersects(GONE) => return gone(&self.dir),
                Ok(event) => self.apply(&event),
            };
            match changed {
                Ok(true) => self.publish(),
                Ok(false) => {}
                Err(error) => {
                    error!(directory = %self.dir.display(), "cannot list the manifests: {error}");
                }
            }
        }
        gone(&self.dir)
    }

    /// Handles one event. Returns whether an object may have changed.
    fn apply(&mut self, event: &EventOwned) -> io::Result<bool> {
        let name = event
            .name
            .as_deref()
            .and_then(OsStr::to_str)
            .unwrap_or_default();
        // A mounted ConfigMap is updated by a rename of `..data`, the target of its links.
        if event.mask.contains(EventMask::Q_OVERFLOW) || name == "..data" {
            return self.read_all().map(|()| true);
        }
        if !is_manifest(name) {
            return Ok(false);
        }
        if event
            .mask
            .intersects(EventMask::DELETE | EventMask::MOVED_FROM)
        {
            return Ok(self.files.remove(name).is_some());
        }
        // A new file is read when its writer closes it. A new link has no writer.
        if event.mask.contains(EventMask::CREATE) && !self.is_link(name) {
            return Ok(false);
        }
        Ok(self.read(name))
    }

    fn is_link(&self, name: &str) -> bool {
        self.dir
            .join(name)
            .symlink_metadata()
            .is_ok_and(|meta| meta.is_symlink() || meta.nlink() > 1)
    }

    fn read_all(&mut self) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name().into_string().ok();
            names.extend(name.filter(|name| is_manifest(name)));
        }
        self.files.retain(|known, _| names.contains(known));
        for name in names {
            self.read(&name);
        }
        Ok(())
    }

    /// Reads one file. Returns whether an object may have changed.
    fn read(&mut self, name: &str) -> bool {
        let path = self.dir.join(name);
        let text = regular_file::read(&path, MAX_SIZE)
            .and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
        let objects = match text {
            // The file was renamed or removed since. Another event reports the new name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.files.remove(name).is_some();
            }
            text => text
                .map_err(|error| error.to_string())
                .and_then(|text| parse(&text)),
        };
        match objects {
            Ok(objects) => {
                self.files.insert(name.to_owned(), objects);
                true
            }
            Err(error) => {
                error!(
                    file = %path.display(),
                    "cannot read the manifest; its last valid content stays in use: {error}"
                );
                false
            }
        }
    }

    fn publish(&self) {
        let files = self.files.values();
        let pods = files.clone().flat_map(|objects| objects.pods.clone());
        let definitions = files.flat_map(|objects| objects.definitions.clone());
        self.store.replace(pods.collect(), definitions.collect());
    }
}

const GONE: EventMask = EventMask::DELETE_SELF
    .union(EventMask::MOVE_SELF)
    .union(EventMask::UNMOUNT)
    .union(EventMask::IGNORED);

fn is_manifest(name: &str) -> bool {
    matches!(
        Path::new(name).extension().and_then(OsStr::to_str),
        Some("yaml" | "yml")
    )
}

#[cfg(test)]
mod tests;
