//! Atomic replacement of files: a temporary file beside the target is written and then renamed.

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::durable::{sync, sync_dir};

/// The temporary file of `path`. Runtimes ignore its extension (C-13).
pub(crate) fn temporary_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

/// Replaces a file. Readers see either the old or the new content, never a partial file, and a
/// watcher of the directory sees a rename (C-13). A failed write leaves the old file in place and
/// removes the temporary file.
///
/// The directory must exist; it is neither created nor replaced (C-23). Errors name the target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtomicFile<'a> {
    path: &'a Path,
    mode: u32,
    durable: bool,
    shared: bool,
}

impl<'a> AtomicFile<'a> {
    /// A replacement of the file `path` with permissions `mode`, whatever the umask.
    pub(crate) fn new(path: &'a Path, mode: u32) -> Self {
        Self {
            path,
            mode,
            durable: false,
            shared: false,
        }
    }

    /// Syncs the content before the rename, so that a power loss cannot leave an empty file.
    pub(crate) fn durable(self) -> Self {
        Self {
            durable: true,
            ..self
        }
    }

    /// Allows concurrent writers of the same path by giving each its own temporary file. The
    /// temporary file of a killed process is left behind, since the next writer uses another name.
    pub(crate) fn shared(self) -> Self {
        Self {
            shared: true,
            ..self
        }
    }

    pub(crate) fn write(self, bytes: &[u8]) -> io::Result<()> {
        self.write_checked(bytes, |_| Ok(()))
    }

    /// Before the rename, calls `check` with the path of the complete, closed temporary file. An
    /// error of `check` cancels the replacement.
    pub(crate) fn write_checked(
        self,
        bytes: &[u8],
        check: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        self.replace(|file| file.write_all(bytes), check)
    }

    /// Calls `write` to write the content. `write` must flush its own buffers.
    pub(crate) fn write_with(
        self,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        self.replace(write, |_| Ok(()))
    }

    fn replace(
        self,
        write: impl FnOnce(&mut File) -> io::Result<()>,
        check: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let temporary = self.temporary();
        let replaced = self
            .create(&temporary)
            .and_then(|mut file| {
                write(&mut file)?;
                if self.durable {
                    sync(&file)?;
                }
                Ok(())
            })
            .and_then(|()| check(&temporary))
            .and_then(|()| fs::rename(&temporary, self.path));
        if let Err(error) = replaced {
            let _ = fs::remove_file(&temporary);
            return Err(with_path(self.path, &error));
        }
        if self.durable
            && let Some(dir) = self.path.parent()
        {
            // The file is in place. If the sync fails, a power loss may undo the rename, which does
            // not justify an error.
            let _ = sync_dir(dir);
        }
        Ok(())
    }

    fn temporary(self) -> PathBuf {
        static WRITES: AtomicU64 = AtomicU64::new(0);
        if self.shared {
            let (process, number) = (std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed));
            self.path.with_file_name(format!(".{process}.{number}.tmp"))
        } else {
            temporary_path(self.path)
        }
    }

    fn create(self, temporary: &Path) -> io::Result<File> {
        // The temporary file of a killed process may have another owner or mode.
        match fs::remove_file(temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(self.mode)
            .open(temporary)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    io::Error::new(error.kind(), "the directory does not exist")
                }
                _ => error,
            })?;
        file.set_permissions(Permissions::from_mode(self.mode))?;
        Ok(file)
    }
}

/// Removes the file `path`, if present.
pub(crate) fn remove_if_present(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(with_path(path, &error)),
        _ => Ok(()),
    }
}

/// The error with the path in front.
pub(crate) fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
