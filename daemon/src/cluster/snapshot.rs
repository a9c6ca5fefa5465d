//! A snapshot of the definitions on disk, so that a daemon that starts while the API server is
//! unavailable can serve ADD (decision 17).
//!
//! The file is written shortly after a change, atomically, and is readable by root alone:
//! definitions may hold secrets. Its modification time is the time at which the API server last
//! confirmed the content.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::definition::Definition;
use super::store::{DefinitionsVersion, Store};
use crate::atomic_file::{AtomicFile, with_path};
use crate::regular_file;

const FILE_NAME: &str = "definitions.json";
const FORMAT: u32 = 1;
/// The largest file that is read, in bytes.
const MAX_SIZE: u64 = 1 << 30;
/// How long the API server may take to list the definitions before the snapshot is loaded.
const LIST_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a write waits for further changes, since changes come in bursts.
const WRITE_DELAY: Duration = Duration::from_secs(2);
/// How far the file's modification time may lag behind the last confirmation.
const MAX_TIME_LAG: Duration = Duration::from_mins(1);

/// Loads and writes the snapshot of a store's definitions.
#[derive(Debug, Clone)]
pub(crate) struct DefinitionSnapshot {
    path: PathBuf,
    max_age: Option<Duration>,
    store: Store,
}

#[derive(Deserialize)]
struct SnapshotFile {
    format: u32,
    definitions: Vec<Definition>,
}

#[derive(Serialize)]
struct SnapshotFileRef<'a> {
    format: u32,
    definitions: Vec<&'a Definition>,
}

impl DefinitionSnapshot {
    /// The snapshot in `state_dir` of the definitions in `store`. A file older than `max_age` is
    /// not loaded.
    pub(crate) fn new(state_dir: &Path, max_age: Option<Duration>, store: Store) -> Self {
        Self {
            path: state_dir.join(FILE_NAME),
            max_age,
            store,
        }
    }

    /// Loads the file into the store if the API server does not list the definitions soon.
    pub(crate) async fn load_unless_listed(&self) {
        let deadline = Instant::now() + LIST_TIMEOUT;
        if !self.store.wait_definitions(deadline).await {
            self.load().await;
        }
    }

    /// Keeps the file up to date until `stop`. Only one process at a time may do so.
    pub(crate) async fn write_changes(&self, stop: CancellationToken) {
        let mut written: Option<DefinitionsVersion> = None;
        loop {
            let Some((version, unchanged)) =
                stop.run_until_cancelled(self.next_version(written)).await
            else {
                return;
            };
            let (path, store) = (self.path.clone(), self.store.clone());
            let saved = blocking(move || {
                if unchanged {
                    touch(&path, version.confirmed)
                } else {
                    save(&path, &store.definitions(), version.confirmed)
                }
            });
            if let Err(error) = saved.await {
                tracing::error!(%error, "the snapshot of the definitions cannot be written");
            }
            written = Some(version);
        }
    }

    /// The next version to write, and whether its definitions are those of `written`.
    async fn next_version(
        &self,
        written: Option<DefinitionsVersion>,
    ) -> (DefinitionsVersion, bool) {
        let due = |version: DefinitionsVersion| {
            written.is_none_or(|old| {
                version.revision != old.revision
                    || version.confirmed >= old.confirmed + MAX_TIME_LAG
            })
        };
        let version = self.store.wait_definitions_version(due).await;
        if written.is_some_and(|old| old.revision == version.revision) {
            return (version, true);
        }
        sleep(WRITE_DELAY).await;
        (self.store.wait_definitions_version(|_| true).await, false)
    }

    async fn load(&self) {
        let path = self.path.clone();
        let file = self.path.display();
        let (definitions, confirmed) = match blocking(move || read(&path)).await {
            Ok(snapshot) => snapshot,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::error!(%file, %error, "the snapshot of the definitions cannot be read");
                return;
            }
        };
        let age = confirmed.elapsed().unwrap_or_default();
        if self.max_age.is_some_and(|max| age > max) {
            tracing::warn!(
                %file,
                age_seconds = age.as_secs(),
                "the snapshot of the definitions is older than snapshotMaxAge and not used"
            );
            return;
        }
        let count = definitions.len();
        if self.store.load_snapshot(definitions, confirmed) {
            tracing::warn!(
                count,
                age_seconds = age.as_secs(),
                "definitions come from the snapshot: {}",
                self.store.failure().unwrap_or_else(|| format!(
                    "the API server has not answered within {LIST_TIMEOUT:?}"
                ))
            );
        }
    }
}

/// Returns the definitions and the time at which they were last confirmed.
fn read(path: &Path) -> io::Result<(Vec<Definition>, SystemTime)> {
    let confirmed = fs::metadata(path)?.modified()?;
    let file: SnapshotFile = serde_json::from_slice(&regular_file::read(path, MAX_SIZE)?)?;
    if file.format != FORMAT {
        return Err(io::Error::other(format!(
            "this plexusd does not know format {}",
            file.format
        )));
    }
    Ok((file.definitions, confirmed))
}

fn save(path: &Path, definitions: &[Arc<Definition>], confirmed: SystemTime) -> io::Result<()> {
    let content = SnapshotFileRef {
        format: FORMAT,
        definitions: definitions.iter().map(AsRef::as_ref).collect(),
    };
    AtomicFile::new(path, 0o600).durable().write_with(|file| {
        let mut writer = BufWriter::new(&*file);
        serde_json::to_writer(&mut writer, &content)?;
        writer.flush()?;
        file.set_modified(confirmed)
    })
}

fn touch(path: &Path, confirmed: SystemTime) -> io::Result<()> {
    File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_modified(confirmed))
        .map_err(|error| with_path(path, &error))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

#[cfg(test)]
mod tests;
