//! The last known definitions on disk, so that a daemon that starts while the API server is away can serve
//! (decision 17).
//!
//! The file is written shortly after a change, whole or not at all, for root alone: definitions may hold secrets. Its
//! time of modification is when its content was last known to be right.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::store::{Definition, DefinitionsState, Store};
use crate::atomic_file::AtomicFile;

const FILE: &str = "definitions.json";
const FORMAT: u32 = 1;
/// How long the API server has before what was known earlier is used.
const PATIENCE: Duration = Duration::from_secs(1);
/// Changes come in groups; one write serves all of a group.
const SETTLE: Duration = Duration::from_secs(2);
/// How far the file's time may be behind.
const TOUCH: Duration = Duration::from_mins(1);

/// The snapshot of a store's definitions.
#[derive(Debug, Clone)]
pub(crate) struct DefinitionSnapshot {
    path: PathBuf,
    max_age: Option<Duration>,
    store: Store,
}

#[derive(Deserialize)]
struct Content {
    format: u32,
    definitions: Vec<Definition>,
}

#[derive(Serialize)]
struct ContentRef<'a> {
    format: u32,
    definitions: Vec<&'a Definition>,
}

impl DefinitionSnapshot {
    /// The snapshot in `state_dir` of the definitions in `store`; one older than `max_age` is not used.
    pub(crate) fn new(state_dir: &Path, max_age: Option<Duration>, store: Store) -> Self {
        Self {
            path: state_dir.join(FILE),
            max_age,
            store,
        }
    }

    /// Fills the store from the file if the API server does not.
    pub(crate) async fn stand_in(&self) {
        if !self.store.wait_definitions(Instant::now() + PATIENCE).await {
            self.load().await;
        }
    }

    /// Keeps the file as the store is, until `stop`. One process at a time may do so.
    pub(crate) async fn keep(&self, stop: CancellationToken) {
        let mut written: Option<DefinitionsState> = None;
        loop {
            let Some((state, same)) = stop.run_until_cancelled(self.next_state(written)).await
            else {
                return;
            };
            let (path, store) = (self.path.clone(), self.store.clone());
            let saved = blocking(move || {
                if same {
                    touch(&path, state.confirmed)
                } else {
                    save(&path, &store.definitions(), state.confirmed)
                }
            });
            if let Err(error) = saved.await {
                tracing::error!(%error, "the known definitions cannot be written down");
            }
            written = Some(state);
        }
    }

    /// The next state that is to be written, and whether its definitions are as they were `written`.
    async fn next_state(&self, written: Option<DefinitionsState>) -> (DefinitionsState, bool) {
        let due = |state: DefinitionsState| {
            written.is_none_or(|old| {
                state.revision != old.revision || state.confirmed >= old.confirmed + TOUCH
            })
        };
        let state = self.store.wait_state(due).await;
        if written.is_some_and(|old| old.revision == state.revision) {
            return (state, true);
        }
        sleep(SETTLE).await;
        (self.store.wait_state(|_| true).await, false)
    }

    async fn load(&self) {
        let path = self.path.clone();
        let file = self.path.display();
        let (definitions, taken) = match blocking(move || read(&path)).await {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::error!(%file, %error, "the definitions known earlier cannot be read");
                return;
            }
        };
        let age = taken.elapsed().unwrap_or_default();
        if self.max_age.is_some_and(|max| age > max) {
            tracing::warn!(%file, age = age.as_secs(), "the definitions known earlier are too old (snapshotMaxAge)");
            return;
        }
        let count = definitions.len();
        if self.store.load_snapshot(definitions, taken) {
            let age = age.as_secs();
            tracing::warn!(
                count,
                age,
                "the API server does not answer; definitions are those that were known earlier"
            );
        }
    }
}

fn read(path: &Path) -> io::Result<(Vec<Definition>, SystemTime)> {
    let taken = fs::metadata(path)?.modified()?;
    let content: Content = serde_json::from_slice(&fs::read(path)?)?;
    if content.format != FORMAT {
        return Err(io::Error::other(format!(
            "format {} is not known to this plexusd",
            content.format
        )));
    }
    Ok((content.definitions, taken))
}

fn save(path: &Path, definitions: &[Arc<Definition>], confirmed: SystemTime) -> io::Result<()> {
    let content = ContentRef {
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
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
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
