//! Watches directories by inotify, including directories that do not exist yet.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::{FutureExt as _, StreamExt as _};
use inotify::{EventStream, Inotify, WatchDescriptor, WatchMask};
use nix::errno::Errno;

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

/// A set of directories. For a missing directory, its nearest existing ancestor is watched until
/// the directory appears.
#[derive(Debug)]
pub(crate) struct DirWatcher {
    events: EventStream<Vec<u8>>,
    dirs: Vec<PathBuf>,
    watches: HashSet<WatchDescriptor>,
}

impl DirWatcher {
    /// An empty set. Must be called in a Tokio runtime.
    ///
    /// # Errors
    /// The user has no inotify instance left.
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

    /// Watches `dirs` instead of the previous directories. Returns whether a directory is newly
    /// watched; earlier reads of that directory may be outdated.
    ///
    /// # Errors
    /// A directory cannot be watched; the error names the directory.
    pub(crate) fn set(&mut self, dirs: Vec<PathBuf>) -> io::Result<bool> {
        let watches = dirs
            .iter()
            .map(|dir| self.watch(dir))
            .collect::<io::Result<HashSet<_>>>()?;
        for old in self.watches.difference(&watches) {
            // Fails if the directory was deleted: the kernel has removed its watch.
            let _ = self.events.watches().remove(old.clone());
        }
        let grown = !watches.is_subset(&self.watches);
        (self.dirs, self.watches) = (dirs, watches);
        Ok(grown)
    }

    /// Waits for a change in one of the directories, or for a directory to appear or disappear.
    pub(crate) async fn changed(&mut self) -> io::Result<()> {
        self.events.next().await.transpose()?;
        // Drains pending events, so that callers read the directories only once.
        while let Some(Some(event)) = self.events.next().now_or_never() {
            event?;
        }
        let dirs = std::mem::take(&mut self.dirs);
        self.set(dirs).map(drop)
    }

    /// Watches `dir` or its nearest existing ancestor.
    fn watch(&self, dir: &Path) -> io::Result<WatchDescriptor> {
        loop {
            let nearest = dir
                .ancestors()
                .find(|path| path.is_dir())
                .unwrap_or(Path::new("/"));
            match self.events.watches().add(nearest, MASK) {
                Ok(watch) => {
                    let next = dir.ancestors().take_while(|path| *path != nearest).last();
                    // A directory that appeared before the watch began causes no event.
                    if next.is_none_or(|next| !next.is_dir()) {
                        return Ok(watch);
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
}

/// Adds the sysctl to raise to an error that may come from a limit of inotify. The kernel's own
/// error text is about open files and disk space.
pub(crate) fn with_limit(error: io::Error) -> io::Error {
    let limit = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE) => "fs.inotify.max_user_instances",
        Some(Errno::ENOSPC) => "fs.inotify.max_user_watches",
        _ => return error,
    };
    io::Error::new(
        error.kind(),
        format!("{error}: programs on this node watch too many files; raise the sysctl {limit}"),
    )
}
