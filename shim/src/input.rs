//! Stdin, under a deadline.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::unistd;
use plexus_api::wire;

use crate::timer::{self, Timer};

/// How much is read at first: most configurations are smaller.
const FIRST_READ: usize = 4 << 10;

/// Reads stdin to its end, but not much more of it than a request can hold.
///
/// # Errors
/// The read's own, or [`io::ErrorKind::TimedOut`] where the other side has not closed it by the deadline.
pub fn read(deadline: Duration) -> io::Result<Vec<u8>> {
    let (stdin, timer) = (io::stdin(), Timer::start(deadline));
    let mut bytes = Vec::new();
    while bytes.len() <= wire::MAX_REQUEST {
        timer::wait_readable(stdin.as_fd(), timer)?;
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
