//! Reads files that other programs may have replaced by anything: only regular files, and only up to
//! a size. Opening a FIFO or a device could block for ever.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;

/// Reads a file of at most `max` bytes. Follows links.
///
/// # Errors
/// [`is_unusable`] recognises the errors of a file that is not regular or too long.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_opened(&open(path)?, max)
}

/// Reads an opened file of at most `max` bytes. Opening must not have blocked.
///
/// # Errors
/// See [`read`].
pub(crate) fn read_opened(file: &File, max: u64) -> io::Result<Vec<u8>> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(not_regular());
    }
    let length = found.len();
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(max)).unwrap_or_default());
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let text = format!("the file has more than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Opens a file. Never blocks.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)
        // A socket cannot be opened at all.
        .map_err(|error| match path.metadata() {
            Ok(found) if !found.is_file() && !found.is_dir() => not_regular(),
            _ => error,
        })
}

/// Whether an error of [`read`] means that the file can never be used.
pub(crate) fn is_unusable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge
    )
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "12345").expect("a file");
        std::os::unix::fs::symlink(path("file"), path("link")).expect("a link");
        fs::create_dir(path("dir")).expect("a directory");
        mkfifo(&path("fifo"), Mode::S_IRWXU).expect("a FIFO");
        let _socket = UnixListener::bind(path("socket")).expect("a socket");
        for name in ["file", "link"] {
            assert_eq!(read(&path(name), 5).expect(name), b"12345");
            let error = read(&path(name), 4).expect_err("too long");
            assert!(is_unusable(&error) && error.to_string().contains("4 bytes"));
        }
        for name in ["dir", "fifo", "socket"] {
            let error = read(&path(name), 5).expect_err(name);
            assert!(is_unusable(&error), "{name}: {error}");
        }
        let error = read(Path::new("/dev/zero"), 5).expect_err("a device");
        assert!(is_unusable(&error), "{error}");
        let error = read(&path("missing"), 5).expect_err("missing");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
