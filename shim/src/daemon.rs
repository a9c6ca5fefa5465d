//! Reaching the daemon: how long each verb waits for one that is away, and what it says then.

use std::fmt;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use plexus_api::cni::Verb;

use crate::http::{Answer, Failure, Request};
use crate::output;

/// The pauses between two tries to connect. There is nothing to be told of a socket that does not exist yet.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(200);

/// Why there is no answer, for people: what was tried, and what to look at.
#[derive(Debug)]
pub struct Away {
    /// The daemon cannot have seen the request.
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
/// A request that the daemon may have seen is sent again for DEL and STATUS only. An ADD that was cut short is for
/// the runtime to clean up and to begin anew.
pub fn ask(request: &Request, socket: &Path, verb: Verb, wait: Duration) -> Result<Answer, Away> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        let failure = match request.send(socket, answer_deadline(verb)) {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let again = match &failure {
            Failure::Connect(error) => {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
            }
            Failure::NoAnswer(_) => matches!(verb, Verb::Del | Verb::Status),
        };
        let left = wait.saturating_sub(started.elapsed());
        if !again || left.is_zero() {
            return Err(away(&failure, socket, started.elapsed()));
        }
        if !told {
            output::log(&format!("{verb} waits up to {wait:?} for plexusd at {}", socket.display()));
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

fn away(failure: &Failure, socket: &Path, tried: Duration) -> Away {
    let socket = socket.display();
    let text = match failure {
        Failure::Connect(error) => format!(
            "plexusd cannot be reached at {socket} ({error}; tried for {:.1}s); is it running on this node?",
            tried.as_secs_f32()
        ),
        Failure::NoAnswer(error) => {
            format!("plexusd at {socket} gave no answer ({error}); was it stopped? See its log")
        }
    };
    Away { unseen: matches!(failure, Failure::Connect(_)), text }
}
