//! A directory of YAML manifests in place of an API server: for nodes without a cluster, the demo and tests.
//!
//! Pods and network-attachment-definitions are taken from `*.yaml` and `*.yml`, other kinds are passed over. Of two
//! objects with one name, the one in the last file by name counts. Network-status is written beside the manifests.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use futures_util::StreamExt as _;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchMask};
use serde::Deserialize;
use tracing::error;

use super::{Definition, RESOURCE_NAME, Store};
use crate::atomic_file::AtomicFile;
use crate::dir_watcher::with_limit;
use crate::model::Pod;

const STATUS_SUFFIX: &str = ".network-status.json";

/// A watched directory of manifests that feeds a store.
#[derive(Debug)]
pub(crate) struct Manifests {
    dir: PathBuf,
    store: Store,
    events: EventStream<Vec<u8>>,
    /// What each file held when it was last in order, by file name.
    files: BTreeMap<String, Objects>,
}

#[derive(Debug, Default)]
struct Objects {
    pods: Vec<Pod>,
    definitions: Vec<Definition>,
}

impl Manifests {
    /// Watches `dir`, reads it and fills `store`, which has then synced. A broken file is logged and left out. It
    /// blocks while it reads; it needs a Tokio runtime for the events.
    ///
    /// # Errors
    /// The directory cannot be watched or listed; the error names it.
    pub(crate) fn open(dir: &Path, store: Store) -> io::Result<Self> {
        let wrong = |error: io::Error| {
            let error = with_limit(error);
            io::Error::new(
                error.kind(),
                format!(
                    "manifests directory {} cannot be watched: {error}",
                    dir.display()
                ),
            )
        };
        let inotify = Inotify::init().map_err(wrong)?;
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        // DirWatcher before it is read, so that no change falls in between.
        inotify.watches().add(dir, mask).map_err(wrong)?;
        let events = inotify.into_event_stream(vec![0; 4096]).map_err(wrong)?;
        let mut manifests = Self {
            dir: dir.to_owned(),
            store,
            events,
            files: BTreeMap::new(),
        };
        manifests.read_all().map_err(wrong)?;
        manifests.publish();
        Ok(manifests)
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Follows the directory for as long as it is there, and returns why it cannot any more. The store keeps what it
    /// has. A file that is broken, or written only in part, keeps its last good content.
    pub(crate) async fn run(mut self) -> io::Error {
        let gone =
            |dir: &Path| io::Error::other(format!("manifests directory {} is gone", dir.display()));
        while let Some(event) = self.events.next().await {
            let changed = match event {
                Err(error) => return error,
                Ok(event) if event.mask.intersects(GONE) => return gone(&self.dir),
                Ok(event) => self.follow(&event),
            };
            match changed {
                Ok(true) => self.publish(),
                Ok(false) => {}
                Err(error) => {
                    error!(directory = %self.dir.display(), "manifests cannot be listed: {error}");
                }
            }
        }
        gone(&self.dir)
    }

    /// Does what one event asks for; whether anything changed.
    fn follow(&mut self, event: &EventOwned) -> io::Result<bool> {
        let name = event
            .name
            .as_deref()
            .and_then(OsStr::to_str)
            .unwrap_or_default();
        // A mounted ConfigMap changes by renaming the directory that its links lead through.
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
        // A new file is read when its writer closes it; a new link has no writer.
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
            names.extend(
                entry?
                    .file_name()
                    .into_string()
                    .ok()
                    .filter(|name| is_manifest(name)),
            );
        }
        self.files.retain(|known, _| names.contains(known));
        for name in names {
            self.read(&name);
        }
        Ok(())
    }

    /// Reads one file; whether that changed anything.
    fn read(&mut self, name: &str) -> bool {
        let path = self.dir.join(name);
        let read = match fs::read_to_string(&path) {
            // Renamed or removed since; another event tells of that.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.files.remove(name).is_some();
            }
            read => read
                .map_err(|error| error.to_string())
                .and_then(|text| parse(&text)),
        };
        match read {
            Ok(objects) => {
                self.files.insert(name.to_owned(), objects);
                true
            }
            Err(why) => {
                error!(file = %path.display(), "manifest is left as it was: {why}");
                false
            }
        }
    }

    fn publish(&self) {
        let pods = self
            .files
            .values()
            .flat_map(|objects| objects.pods.clone())
            .collect();
        let definitions = self
            .files
            .values()
            .flat_map(|objects| objects.definitions.clone())
            .collect();
        self.store.replace(pods, definitions);
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// The objects of a file; the error says where in it something is wrong.
fn parse(text: &str) -> Result<Objects, String> {
    // Otherwise a definition could not be called `n`: older YAML takes that for a boolean.
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| error.to_string().lines().collect::<Vec<_>>().join(" "))?;
    let mut objects = Objects::default();
    for (index, document) in documents.into_iter().enumerate() {
        objects
            .take(document)
            .map_err(|why| format!("object {}: {why}", index + 1))?;
    }
    Ok(objects)
}

impl Objects {
    fn take(&mut self, document: serde_json::Value) -> Result<(), String> {
        let head = Head::deserialize(&document).map_err(|error| error.to_string())?;
        let kind = (head.api_version.as_str(), head.kind.as_str());
        let (POD | DEFINITION) = kind else {
            return Ok(());
        };
        let object: Object =
            serde_json::from_value(document).map_err(|error| format!("{}: {error}", head.kind))?;
        let Metadata {
            name,
            namespace,
            uid,
            annotations,
        } = object.metadata;
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        let mut annotations = annotations.unwrap_or_default();
        if kind == POD {
            self.pods.push(Pod {
                name,
                namespace,
                uid: uid.unwrap_or_default(),
                annotations,
            });
            return Ok(());
        }
        let config = match object.spec.as_ref().and_then(|spec| spec.get("config")) {
            None | Some(serde_json::Value::Null) => None,
            Some(serde_json::Value::String(config)) => Some(config.clone()),
            Some(_) => {
                return Err(format!(
                    "{} {namespace}/{name}: spec.config must be a string",
                    head.kind
                ));
            }
        };
        let resource_name = annotations.remove(RESOURCE_NAME);
        self.definitions.push(Definition {
            namespace,
            name,
            config,
            resource_name,
        });
        Ok(())
    }
}

const POD: (&str, &str) = ("v1", "Pod");
const DEFINITION: (&str, &str) = ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition");

/// Writes a pod's network-status to `DIR/<namespace>.<name>.network-status.json`, whole or not at all. Blocking.
///
/// # Errors
/// It could not be written, or a name cannot be part of a file name.
pub(crate) fn write_status(
    dir: &Path,
    pod_namespace: &str,
    pod_name: &str,
    text: &str,
) -> io::Result<()> {
    let path = status_path(dir, pod_namespace, pod_name)?;
    AtomicFile::new(&path, 0o644)
        .shared()
        .write(text.as_bytes())
}

/// Removes what [`write_status`] wrote, if it is there and, where a `text` is given, is that. Blocking.
///
/// # Errors
/// It is there and could not be removed, or a name cannot be part of a file name.
pub(crate) fn remove_status(
    dir: &Path,
    pod_namespace: &str,
    pod_name: &str,
    text: Option<&str>,
) -> io::Result<()> {
    let path = status_path(dir, pod_namespace, pod_name)?;
    let removed = match fs::read(&path) {
        Ok(there) if text.is_some_and(|text| there != text.as_bytes()) => return Ok(()),
        Ok(_) => fs::remove_file(&path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn status_path(dir: &Path, pod_namespace: &str, pod_name: &str) -> io::Result<PathBuf> {
    if let Some(wrong) = [pod_namespace, pod_name]
        .into_iter()
        .find(|name| name.is_empty() || name.contains(['/', '\0']))
    {
        let why = format!("{wrong:?} is not the name of a pod or a namespace");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(dir.join(format!("{pod_namespace}.{pod_name}{STATUS_SUFFIX}")))
}

#[cfg(test)]
mod tests;
