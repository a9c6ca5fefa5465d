//! What goes wrong with an API server.

use std::error::Error;
use std::time::Duration;

use kube::core::Status;

use super::connection::ConnectionError;

/// The longest that a server can ask to be left alone.
const LONGEST: Duration = Duration::from_secs(30);

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// There is no client.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The server's refusal.
    #[error("{} {}: {}", .0.code, .0.reason, .0.message)]
    Refused(Box<Status>),
    /// No answer that could be read.
    #[error(transparent)]
    Client(kube::Error),
    /// No word.
    #[error("no answer for {0:?}")]
    Silent(Duration),
    /// The server does not say how new its answer is.
    #[error("the answer has no resourceVersion")]
    NoVersion,
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            other => Self::Client(other),
        }
    }
}

impl From<kube::core::request::Error> for Trouble {
    fn from(error: kube::core::request::Error) -> Self {
        kube::Error::BuildRequest(error).into()
    }
}

impl Trouble {
    /// The status of a refusal, else 0.
    pub(crate) fn code(&self) -> u16 {
        if let Self::Refused(status) = self {
            status.code
        } else {
            0
        }
    }

    /// Whether the place to watch from is of no use any more: too old (410), or not reached by a server that was
    /// restored (504). What the server is not able to say now, it may say later.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::NoVersion) || !matches!(self.code(), 0 | 401 | 429 | 500 | 502 | 503)
    }

    /// How long the server wants to be left alone.
    pub(crate) fn retry_after(&self) -> Duration {
        let Self::Refused(status) = self else {
            return Duration::ZERO;
        };
        let seconds = status
            .details
            .as_ref()
            .map_or(0, |details| details.retry_after_seconds);
        Duration::from_secs(u64::from(seconds)).min(LONGEST)
    }

    /// All of it in one line: an HTTP client's own words say little without their cause.
    pub(crate) fn text(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            let words = cause.to_string();
            if !text.contains(&words) {
                text = format!("{text}: {words}");
            }
            source = cause.source();
        }
        text
    }
}
