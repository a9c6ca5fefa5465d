//! Deadlines for reads and writes.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A start time and a timeout, because their sum could overflow.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    start: Instant,
    timeout: Duration,
}

impl Deadline {
    pub fn after(timeout: Duration) -> Self {
        Self {
            start: Instant::now(),
            timeout,
        }
    }

    /// The time until the deadline.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if the deadline has passed.
    pub fn remaining(&self) -> io::Result<Duration> {
        let remaining = self.timeout.saturating_sub(self.start.elapsed());
        if remaining.is_zero() {
            Err(self.timed_out())
        } else {
            Ok(remaining)
        }
    }

    pub fn timed_out(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!("timed out after {}", seconds(self.timeout)),
        )
    }
}

/// Formats a duration in seconds. Printing a floating-point number instead would add 2 % to the
/// size of the binary.
pub fn seconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        millis => format!("{}.{millis:03}s", duration.as_secs()),
    }
}

/// Waits until `fd` is readable, closed or has failed.
pub fn wait_readable(fd: BorrowedFd, deadline: Deadline) -> io::Result<()> {
    loop {
        // Rounded up: with a timeout of 0, poll would not wait at all.
        let millis = deadline.remaining()?.as_millis().saturating_add(1);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}
