//! Syncs files and directories to disk.

use std::fs::File;
use std::io;
use std::path::Path;

/// Makes the content of a file, or the entries of a directory, survive a power loss.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    recorder::record(file);
    file.sync_all()
}

/// [`sync`] for the directory at this path.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    sync(&File::open(dir)?)
}

/// Records what each sync of a thread makes durable.
#[cfg(test)]
pub(crate) mod recorder {
    use std::cell::RefCell;
    use std::fs::{self, File};
    use std::os::fd::AsRawFd as _;
    use std::path::PathBuf;

    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Synced {
        File {
            path: PathBuf,
            content: Vec<u8>,
        },
        /// The names, sorted.
        Dir {
            path: PathBuf,
            names: Vec<String>,
        },
    }

    thread_local!(static SYNCED: RefCell<Vec<Synced>> = const { RefCell::new(Vec::new()) });

    /// The syncs since the last call.
    pub(crate) fn take() -> Vec<Synced> {
        SYNCED.take()
    }

    pub(super) fn record(file: &File) {
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("a path");
        let synced = if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory").flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            let mut names: Vec<_> = names.collect();
            names.sort();
            Synced::Dir { path, names }
        } else {
            let content = fs::read(&path).expect("content");
            Synced::File { path, content }
        };
        SYNCED.with_borrow_mut(|all| all.push(synced));
    }
}
