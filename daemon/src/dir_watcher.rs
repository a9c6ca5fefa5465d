//! Directories that are followed by inotify, also while they are not there.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::{FutureExt as _, StreamExt as _};
use inotify::{EventStream, Inotify, WatchDescriptor, WatchMask};
use nix::errno::Errno;

/// A new file is told of twice, when it appears and when its writer closes it: a link has no writer.
const MASK: WatchMask = WatchMask::ATTRIB
    .union(WatchMask::CREATE)
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::MOVE)
    .union(WatchMask::DELETE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF)
    .union(WatchMask::ONLYDIR);

/// A set of directories. Of one that is not there, the nearest one above it is watched until it appears.
#[derive(Debug)]
pub(crate) struct DirWatcher {
    events: EventStream<Vec<u8>>,
    dirs: Vec<PathBuf>,
    watches: HashSet<WatchDescriptor>,
}

impl DirWatcher {
    /// An empty set. Needs a Tokio runtime.
    ///
    /// # Errors
    /// The system's: the user has too many of them.
    pub(crate) fn new() -> io::Result<Self> {
        let events = Inotify::init()
            .map_err(with_limit)?
            .into_event_stream(vec![0; 4096])?;
        Ok(Self {
            events,
            dirs: Vec::new(),
            watches: HashSet::new(),
        })
    }

    /// Follows `dirs` in place of those before. Whether something is watched now that was not: what was read of it
    /// before may be old.
    ///
    /// # Errors
    /// The system's, with the path.
    pub(crate) fn set(&mut self, dirs: Vec<PathBuf>) -> io::Result<bool> {
        let watches = dirs
            .iter()
            .map(|dir| self.watch(dir))
            .collect::<io::Result<HashSet<_>>>()?;
        for gone in self.watches.difference(&watches) {
            // The kernel removes the watch of a directory that is deleted.
            let _ = self.events.watches().remove(gone.clone());
        }
        let more = !watches.is_subset(&self.watches);
        (self.dirs, self.watches) = (dirs, watches);
        Ok(more)
    }

    /// Waits until something has changed in one of them, or one of them has come or gone.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn changed(&mut self) -> io::Result<()> {
        self.events.next().await.transpose()?;
        // One look serves all that has happened by now.
        while let Some(Some(event)) = self.events.next().now_or_never() {
            event?;
        }
        let dirs = std::mem::take(&mut self.dirs);
        self.set(dirs).map(drop)
    }

    /// Watches `dir`, or the nearest directory above it that is there.
    fn watch(&self, dir: &Path) -> io::Result<WatchDescriptor> {
        loop {
            let nearest = dir
                .ancestors()
                .find(|path| path.is_dir())
                .unwrap_or(Path::new("/"));
            match self.events.watches().add(nearest, MASK) {
                Ok(watch) => {
                    let next = dir.ancestors().take_while(|path| *path != nearest).last();
                    // What has appeared before the watch began is not told of.
                    if next.is_none_or(|next| !next.is_dir()) {
                        return Ok(watch);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let error = with_limit(error);
                    let why = format!("{} cannot be watched: {error}", nearest.display());
                    return Err(io::Error::new(error.kind(), why));
                }
            }
        }
    }
}

/// The same error; where a limit of inotify may be reached, whose errors speak of files and disks, with its name.
pub(crate) fn with_limit(error: io::Error) -> io::Error {
    let limit = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE) => "fs.inotify.max_user_instances",
        Some(Errno::ENOSPC) => "fs.inotify.max_user_watches",
        _ => return error,
    };
    io::Error::new(
        error.kind(),
        format!("{error}: programs of this node watch too many files; raise the sysctl {limit}"),
    )
}

#[cfg(test)]
mod tests;
