//! Waiting with an end.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A stretch of time, and when it began. It does not overflow, whatever its length.
#[derive(Debug, Clone, Copy)]
pub struct Timer {
    started: Instant,
    length: Duration,
}

impl Timer {
    /// Starts now.
    pub fn start(length: Duration) -> Self {
        Self {
            started: Instant::now(),
            length,
        }
    }

    /// What is left of it.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] where nothing is.
    pub fn left(&self) -> io::Result<Duration> {
        let left = self.length.saturating_sub(self.started.elapsed());
        if left.is_zero() {
            Err(self.expired())
        } else {
            Ok(left)
        }
    }

    /// The error of its end.
    pub fn expired(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it took longer than {}", in_seconds(self.length)),
        )
    }
}

/// A duration for people, without the code for printing floating-point numbers, which is a fiftieth of the binary.
pub fn in_seconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        millis => format!("{}.{millis:03}s", duration.as_secs()),
    }
}

/// Waits until `fd` can be read, has ended or has failed.
pub fn wait_readable(fd: BorrowedFd, timer: Timer) -> io::Result<()> {
    loop {
        // A rest below a millisecond must not become a poll that does not wait.
        let timeout = timer.left()?.as_millis().saturating_add(1);
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}
