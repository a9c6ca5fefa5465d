//! A directory of YAML manifests instead of an API server: for nodes without a cluster, the demo
//! and tests.
//!
//! Pods and network-attachment-definitions are read from `*.yaml`, `*.yml` and `*.json`, as
//! `kubectl apply` reads them; other kinds are logged and not used. Of two objects with the same
//! name, the one in the last file by name wins. Network-status is written beside the manifests.

mod objects;
mod parse;
mod pod_template;
mod status_file;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{fs, io};

use tracing::{error, info};

use super::store::Store;
use crate::dir_watcher::{Changed, DirWatcher};
use crate::regular_file;
pub(crate) use objects::{Kind, Object, objects};
pub(crate) use parse::definition;
use parse::{ManifestObjects, parse};
pub(crate) use pod_template::{PodTemplate, at};
use status_file::STATUS_SUFFIX;
pub(crate) use status_file::{read_status, remove_status, write_status};
pub(crate) use yaml::{Position, position};

/// The largest file that is read, in bytes: some thousand definitions.
const MAX_SIZE: u64 = 32 << 20;

/// A watched directory of manifests that feeds a store.
#[derive(Debug)]
pub(crate) struct Manifests {
    dir: PathBuf,
    store: Store,
    watcher: DirWatcher,
    /// The last valid content of each file, by file name.
    files: BTreeMap<String, ManifestObjects>,
}

impl Manifests {
    /// Watches `dir`, reads all files and fills `store`, which is synced then. A broken file is
    /// logged and ignored. Blocks while it reads, and needs a Tokio runtime.
    ///
    /// # Errors
    /// The directory cannot be listed. The error names the directory.
    pub(crate) fn open(dir: &Path, store: Store) -> io::Result<Self> {
        // The watch starts before the first read, so that no change is missed.
        let mut watcher = DirWatcher::new();
        watcher.set(vec![dir.to_owned()]);
        let mut manifests = Self {
            dir: dir.to_owned(),
            store,
            watcher,
            files: BTreeMap::new(),
        };
        manifests.read_all()?;
        manifests.publish();
        Ok(manifests)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Follows the directory. A file that is broken or partly written keeps its last valid content,
    /// and so does a directory that cannot be read. Never returns.
    pub(crate) async fn run(mut self) -> Infallible {
        let mut failure = None;
        loop {
            let changed = match self.watcher.changed().await {
                Changed::Names(names) if failure.is_none() => self.read_changed(names),
                _ => self.read_all().map(|()| true),
            };
            match changed {
                Ok(changed) => {
                    if failure.take().is_some() {
                        info!(directory = %self.dir.display(), "the manifests can be read again");
                    }
                    if changed {
                        self.publish();
                    }
                }
                Err(error) => {
                    let text = format!("{error}; the last valid content stays in use");
                    if failure.as_ref() != Some(&text) {
                        error!("{text}");
                    }
                    failure = Some(text);
                }
            }
        }
    }

    /// Reads the files with these names. Returns whether an object may have changed.
    fn read_changed(&mut self, names: BTreeSet<OsString>) -> io::Result<bool> {
        // A mounted ConfigMap is updated by a rename of `..data`, the target of its links.
        if names.contains(OsStr::new("..data")) {
            return self.read_all().map(|()| true);
        }
        let mut changed = false;
        for name in names.into_iter().filter_map(|name| name.into_string().ok()) {
            changed |= is_manifest(&name) && self.read(&name);
        }
        Ok(changed)
    }

    fn read_all(&mut self) -> io::Result<()> {
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.dir)? {
                let name = entry?.file_name().into_string().ok();
                names.extend(name.filter(|name| is_manifest(name)));
            }
            Ok(names)
        };
        let names = list().map_err(|error| {
            let dir = self.dir.display();
            io::Error::new(
                error.kind(),
                format!("manifests directory {dir} cannot be read: {error}"),
            )
        })?;
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
                let logged = self.files.get(name).map(|known| &known.ignored);
                if !objects.ignored.is_empty() && logged != Some(&objects.ignored) {
                    let kinds: Vec<_> = objects.ignored.iter().map(String::as_str).collect();
                    info!(
                        file = %path.display(),
                        "the manifest has objects of kinds that Plexus does not use: {}",
                        kinds.join(", ")
                    );
                }
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

/// Whether `kubectl apply` reads a file of this name. A network-status is not a manifest, and neither
/// is a hidden file: editors and Ansible write to one beside the manifest.
fn is_manifest(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    matches!(extension, Some("yaml" | "yml" | "json"))
        && !name.starts_with('.')
        && !name.ends_with(STATUS_SUFFIX)
}

#[cfg(test)]
mod tests;
