//! Reaching the daemon: how long each verb waits for one that is away, and what it says then.

use std::fmt;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use plexus_api::cni::Verb;

use crate::http::{Answer, Failure, Request};
use crate::output;
use crate::timer::{self, Timer};

/// The pauses between two tries to connect. There is nothing to be told of a socket that does not exist yet.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(200);

/// Why there is no answer, for people: what was tried, and what to look at.
#[derive(Debug)]
pub struct Away {
    /// The daemon cannot have begun the call.
    pub unseen: bool,
    text: String,
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Sends `request` for `verb` until it is answered, as long as `wait` lasts.
///
/// A request that the daemon may have begun is sent again for DEL and STATUS only. An ADD that was cut short is for
/// the runtime to clean up and to begin anew.
pub fn ask(request: &Request, socket: &Path, verb: Verb, wait: Duration) -> Result<Answer, Away> {
    let mut timer = Timer::start(wait);
    let mut handed_over = false;
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        let failure = match request.send(socket, answer_deadline(verb)) {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let again = match &failure {
            Failure::Connect(error) => {
                use io::ErrorKind::{ConnectionRefused, NotFound, WouldBlock};
                // The last is a daemon that hangs, with all the callers waiting that it may have.
                matches!(error.kind(), NotFound | ConnectionRefused | WouldBlock)
            }
            Failure::NotBegun => true,
            Failure::NoAnswer(_) => matches!(verb, Verb::Del | Verb::Status),
        };
        if matches!(failure, Failure::NotBegun) && !handed_over {
            // However long it took: it is the next daemon that is waited for now.
            (timer, handed_over) = (Timer::start(wait), true);
        }
        let left = match timer.left() {
            Ok(left) if again => left,
            _ => return Err(away(&failure, socket, wait)),
        };
        if !told {
            let (wait, socket) = (timer::in_seconds(wait), socket.display());
            output::log(&format!(
                "{verb} waits up to {wait} for plexusd at {socket}"
            ));
            told = true;
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// How long the daemon may take to answer: beyond what it allows itself, so that this ends only a daemon that hangs.
fn answer_deadline(verb: Verb) -> Duration {
    Duration::from_secs(match verb {
        Verb::Add | Verb::Gc => 240,
        Verb::Del | Verb::Check => 60,
        Verb::Status | Verb::Version => 10,
    })
}

fn away(failure: &Failure, socket: &Path, wait: Duration) -> Away {
    let (socket, wait) = (socket.display(), timer::in_seconds(wait));
    let text = match failure {
        Failure::Connect(error) => format!(
            "plexusd cannot be reached at {socket} ({error}; the shim waits up to {wait}); is it running on this node?"
        ),
        Failure::NotBegun => format!(
            "plexusd at {socket} stopped before it began the call, and none has taken its place in {wait}; \
             is it being replaced, or does it refuse this user? See its log"
        ),
        Failure::NoAnswer(error) => {
            format!(
                "plexusd at {socket} took the call but gave no answer ({error}); was it stopped? See its log"
            )
        }
    };
    Away {
        unseen: !matches!(failure, Failure::NoAnswer(_)),
        text,
    }
}
