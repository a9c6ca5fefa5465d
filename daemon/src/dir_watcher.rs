//! Watches directories by inotify, including directories that do not exist yet. If inotify is not
//! available, callers look at the directories from time to time instead (decision 36).

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::stream::TryReadyChunksError;
use futures_util::{StreamExt as _, TryStreamExt as _};
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask};
use nix::errno::Errno;
use tokio::time::sleep;

/// A new file causes two events: at its creation and when its writer closes it. `CREATE` is needed
/// for links, which have no writer.
const MASK: WatchMask = WatchMask::ATTRIB
    .union(WatchMask::CREATE)
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::MOVE)
    .union(WatchMask::DELETE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF)
    .union(WatchMask::ONLYDIR);
/// The pause between two looks at the directories without inotify.
const PAUSE: Duration = Duration::from_secs(2);
/// The largest number of events that become one change.
const MAX_EVENTS: usize = 1024;

/// A set of directories. For a missing directory, its nearest existing ancestor is watched until
/// the directory appears.
#[derive(Debug)]
pub(crate) struct DirWatcher {
    /// `None` if inotify is not available.
    events: Option<EventStream<Vec<u8>>>,
    dirs: Vec<PathBuf>,
    watches: HashMap<WatchDescriptor, PathBuf>,
    /// The last error that was logged, until inotify works again.
    logged: Option<String>,
}

/// What may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Files with these names, in one of the directories or beside it.
    Names(BTreeSet<OsString>),
    Anything,
}

impl DirWatcher {
    /// An empty set. Must be called in a Tokio runtime.
    pub(crate) fn new() -> Self {
        Self {
            events: None,
            dirs: Vec::new(),
            watches: HashMap::new(),
            logged: None,
        }
    }

    /// Watches `dirs` instead of the previous directories. Returns whether a directory is newly
    /// watched; earlier reads of that directory may be outdated.
    pub(crate) fn set(&mut self, dirs: Vec<PathBuf>) -> bool {
        self.dirs = dirs;
        match self.watch_all() {
            Ok(grown) => {
                if self.logged.take().is_some() {
                    tracing::info!(dirs = ?self.dirs, "the directories are watched by inotify again");
                }
                grown
            }
            Err(error) => {
                self.stop_watching(&error);
                false
            }
        }
    }

    /// Waits for a change in one of the directories, or for a directory to appear or disappear.
    /// Without inotify, waits for the time of the next look.
    pub(crate) async fn changed(&mut self) -> Changed {
        loop {
            let Some(events) = &mut self.events else {
                sleep(PAUSE).await;
                self.set_again();
                return Changed::Anything;
            };
            // Several events at once, so that callers read the directories only once.
            let pending = match events.try_ready_chunks(MAX_EVENTS).next().await {
                Some(Ok(pending)) => pending,
                // The stream may repeat its error or its end, so the next attempt comes after a
                // pause.
                Some(Err(TryReadyChunksError(_, error))) => {
                    self.stop_watching(&error);
                    continue;
                }
                None => {
                    self.stop_watching(&io::ErrorKind::UnexpectedEof.into());
                    continue;
                }
            };
            let mut changed = Changed::Names(BTreeSet::new());
            for event in pending {
                changed.add(event, &self.watches);
            }
            if self.set_again() || self.events.is_none() {
                return Changed::Anything;
            }
            if changed != Changed::Names(BTreeSet::new()) {
                return changed;
            }
        }
    }

    fn set_again(&mut self) -> bool {
        let dirs = std::mem::take(&mut self.dirs);
        self.set(dirs)
    }

    fn watch_all(&mut self) -> io::Result<bool> {
        if self.events.is_none() && !self.dirs.is_empty() {
            let inotify = Inotify::init().map_err(with_limit)?;
            self.events = Some(inotify.into_event_stream(vec![0; 4096])?);
        }
        let Some(events) = &self.events else {
            return Ok(false);
        };
        let watches = self
            .dirs
            .iter()
            .map(|dir| watch(events, dir))
            .collect::<io::Result<HashMap<_, _>>>()?;
        for old in self.watches.keys() {
            if !watches.contains_key(old) {
                // Fails if the directory was deleted: the kernel has removed its watch.
                let _ = events.watches().remove(old.clone());
            }
        }
        let grown = watches.keys().any(|new| !self.watches.contains_key(new));
        self.watches = watches;
        Ok(grown)
    }

    /// Gives the inotify instance back, for other programs of the node.
    fn stop_watching(&mut self, error: &io::Error) {
        (self.events, self.watches) = (None, HashMap::new());
        let error = error.to_string();
        if self.logged.as_ref() != Some(&error) {
            tracing::warn!(
                dirs = ?self.dirs,
                "inotify is not available, so plexusd looks for changes every {} s: {error}",
                PAUSE.as_secs()
            );
            self.logged = Some(error);
        }
    }
}

impl Changed {
    fn add(&mut self, event: EventOwned, watches: &HashMap<WatchDescriptor, PathBuf>) {
        let Self::Names(names) = self else { return };
        let (Some(name), false) = (event.name, event.mask.contains(EventMask::Q_OVERFLOW)) else {
            *self = Self::Anything;
            return;
        };
        // The writer of a new file has not finished. A file with several names was linked.
        let is_being_written = event.mask == EventMask::CREATE
            && watches.get(&event.wd).is_some_and(|dir| {
                let metadata = dir.join(&name).symlink_metadata();
                metadata.is_ok_and(|file| file.is_file() && file.nlink() == 1)
            });
        if !is_being_written {
            names.insert(name);
        }
    }
}

/// Watches `dir` or its nearest existing ancestor. Returns which of them is watched.
fn watch(events: &EventStream<Vec<u8>>, dir: &Path) -> io::Result<(WatchDescriptor, PathBuf)> {
    loop {
        let nearest = dir
            .ancestors()
            .find(|path| path.is_dir())
            .unwrap_or(Path::new("/"));
        match events.watches().add(nearest, MASK) {
            Ok(watch) => {
                let next = dir.ancestors().take_while(|path| *path != nearest).last();
                // A directory that appeared before the watch began causes no event.
                if next.is_none_or(|next| !next.is_dir()) {
                    return Ok((watch, nearest.to_owned()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let error = with_limit(error);
                let msg = format!("cannot watch {}: {error}", nearest.display());
                return Err(io::Error::new(error.kind(), msg));
            }
        }
    }
}

/// Adds the limit to raise to an error that may come from a limit of inotify. The kernel's own
/// error text is about open files and disk space.
fn with_limit(error: io::Error) -> io::Error {
    let errno = error
        .raw_os_error()
        .map_or(Errno::UnknownErrno, Errno::from_raw);
    let remedy = match errno {
        Errno::EMFILE => {
            "plexusd has too many open files, or programs of its user have too many inotify \
             instances; raise the sysctl fs.inotify.max_user_instances, or the limit of open files"
        }
        Errno::ENOSPC => {
            "programs of this user watch too many files; raise the sysctl \
             fs.inotify.max_user_watches"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{}: {remedy}", errno.desc()))
}
