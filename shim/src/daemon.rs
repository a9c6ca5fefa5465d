//! Calls the daemon, and waits while the daemon is unavailable.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use plexus_api::cni::Verb;

use crate::deadline::{self, Deadline};
use crate::http::{HttpError, HttpRequest, HttpResponse};
use crate::output;

/// The pauses between attempts to connect. The shim has to poll, because the socket may not exist
/// yet.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_millis(200);

/// The error of a call without a response from the daemon.
#[derive(Debug)]
pub struct Unavailable {
    socket: PathBuf,
    wait: Duration,
    error: HttpError,
}

impl Unavailable {
    /// Whether the daemon may have started the call.
    pub fn may_have_started(&self) -> bool {
        matches!(self.error, HttpError::NoResponse(_))
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (socket, wait) = (self.socket.display(), deadline::seconds(self.wait));
        match &self.error {
            HttpError::Connect(error) => write!(
                f,
                "plexusd cannot be reached at {socket} ({error}; wait limit {wait}); \
                 check that plexusd is running on this node"
            ),
            HttpError::NotStarted => write!(
                f,
                "plexusd at {socket} did not start the call, and no other plexusd did within {wait}; \
                 see the log of plexusd, which is being replaced or refuses this user"
            ),
            HttpError::NoResponse(error) => write!(
                f,
                "plexusd at {socket} accepted the call but did not respond ({error}); see its log"
            ),
        }
    }
}

/// Sends `request` for `verb`, and retries for up to `wait`.
///
/// A call that the daemon may have started is retried for DEL and STATUS only. After an interrupted
/// ADD, the runtime has to clean up first.
pub fn call(
    request: &HttpRequest,
    socket: &Path,
    verb: Verb,
    wait: Duration,
) -> Result<HttpResponse, Unavailable> {
    let mut deadline = Deadline::after(wait);
    let mut replaced = false;
    let mut pause = FIRST_PAUSE;
    let mut logged = false;
    loop {
        let error = match request.send(socket, response_timeout(verb)) {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let retry = match &error {
            HttpError::Connect(error) => {
                use io::ErrorKind::{ConnectionRefused, NotFound, WouldBlock};
                // `WouldBlock`: the daemon hangs, and its listen queue is full.
                matches!(error.kind(), NotFound | ConnectionRefused | WouldBlock)
            }
            HttpError::NotStarted => true,
            HttpError::NoResponse(_) => matches!(verb, Verb::Del | Verb::Status),
        };
        if matches!(error, HttpError::NotStarted) && !replaced {
            // The daemon is being replaced, so the full wait applies to the next one.
            (deadline, replaced) = (Deadline::after(wait), true);
        }
        let remaining = match deadline.remaining() {
            Ok(remaining) if retry => remaining,
            _ => {
                return Err(Unavailable {
                    socket: socket.to_owned(),
                    wait,
                    error,
                });
            }
        };
        if !logged {
            let (wait, socket) = (deadline::seconds(wait), socket.display());
            output::log(&format!(
                "{verb} waits up to {wait} for plexusd at {socket}"
            ));
            logged = true;
        }
        thread::sleep(pause.min(remaining));
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// How long the daemon may take to respond. The daemon's own timeouts are shorter, so this ends
/// only calls to a daemon that hangs.
fn response_timeout(verb: Verb) -> Duration {
    Duration::from_secs(match verb {
        Verb::Add | Verb::Gc => 240,
        Verb::Del | Verb::Check => 60,
        Verb::Status | Verb::Version => 10,
    })
}
