//! Stdin, under a deadline.

use std::io::{self, Read as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use plexus_api::wire;

/// Reads stdin to its end, at most one byte more than a request can hold.
///
/// # Errors
/// The read's own, or [`io::ErrorKind::TimedOut`] where the other side has not closed it by the deadline.
pub fn read(deadline: Duration) -> io::Result<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::Builder::new().spawn(move || {
        let mut bytes = Vec::new();
        let limit = wire::MAX_REQUEST as u64 + 1;
        let read = io::stdin().lock().take(limit).read_to_end(&mut bytes);
        // The receiver is gone once the deadline has passed.
        let _ = sender.send(read.map(|_| bytes));
    })?;
    receiver.recv_timeout(deadline).unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("it was not closed within {deadline:?}")))
    })
}
