//! Reads stdin with a timeout.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::unistd;
use plexus_api::wire;

use crate::deadline::{self, Deadline};

/// The size of the first read. Most configurations are smaller.
const FIRST_READ: usize = 4 << 10;

/// Reads stdin to its end, but stops once the size limit of a request is exceeded.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] if the writer has not closed stdin in time.
pub fn read(timeout: Duration) -> io::Result<Vec<u8>> {
    let (stdin, deadline) = (io::stdin(), Deadline::after(timeout));
    let mut bytes = Vec::new();
    while bytes.len() <= wire::MAX_REQUEST {
        deadline::wait_readable(stdin.as_fd(), deadline)?;
        let end = bytes.len();
        bytes.resize(end + end.max(FIRST_READ), 0);
        let read = unistd::read(&stdin, &mut bytes[end..])?;
        bytes.truncate(end + read);
        if read == 0 {
            break;
        }
    }
    Ok(bytes)
}
