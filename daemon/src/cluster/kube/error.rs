//! Errors of requests to the API server.

use std::error::Error;
use std::time::Duration;

use kube::core::Status;

use super::connection::ConnectionError;

/// The upper bound for the delay that a server can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The field that the API server names if a patch has another UID than the object.
const UID_FIELD: &str = "metadata.uid";

/// The cause of a failed request to the API server. The text is one line and includes all causes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{}", with_causes(.0))]
    Connection(#[from] ConnectionError),
    /// The server refused the request.
    #[error("{} {}: {}", .0.code, .0.reason, .0.message)]
    Refused(Box<Status>),
    /// The request could not be sent, or the response could not be read.
    #[error("{}", with_causes(.0))]
    Client(#[source] kube::Error),
    #[error("no answer within {0:.1?}")]
    Timeout(Duration),
    #[error("the answer has no resourceVersion")]
    NoResourceVersion,
    /// The object does not match the schema of its kind.
    #[error("the object cannot be decoded: {0}")]
    InvalidObject(String),
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            other => Self::Client(other),
        }
    }
}

impl From<kube::core::request::Error> for ApiError {
    fn from(error: kube::core::request::Error) -> Self {
        kube::Error::BuildRequest(error).into()
    }
}

impl ApiError {
    /// The HTTP status of a refusal, else 0.
    pub(crate) fn code(&self) -> u16 {
        if let Self::Refused(status) = self {
            status.code
        } else {
            0
        }
    }

    /// Whether the API server refuses this request, as opposed to being unavailable. A refusal is
    /// about the object of the request: requests for other objects may succeed (decision 39).
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.code(), 400..=499) && !matches!(self.code(), 401 | 408 | 429)
    }

    /// Whether a patch names the UID of an earlier object with the same name.
    pub(crate) fn is_other_uid(&self) -> bool {
        let Self::Refused(status) = self else {
            return false;
        };
        let causes = status
            .details
            .as_ref()
            .map_or(&[][..], |details| &details.causes);
        let names_uid = if causes.is_empty() {
            status.message.contains(UID_FIELD)
        } else {
            causes.iter().any(|cause| cause.field == UID_FIELD)
        };
        status.code == 422 && names_uid
    }

    /// Whether the caller lacks a right for every object of the kind. The authorizer's text is the
    /// only difference to an admission policy that refuses a single object.
    pub(crate) fn is_missing_right(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code == 403 && status.message.contains(" cannot "))
    }

    /// Whether a watch cannot resume from its resourceVersion: the version is too old (410), or a
    /// restored server has not reached it yet (504). Other failures are temporary.
    pub(crate) fn invalidates_version(&self) -> bool {
        matches!(self, Self::NoResourceVersion)
            || !matches!(self.code(), 0 | 401 | 429 | 500 | 502 | 503)
    }

    /// The delay that the server asks for before the next request.
    pub(crate) fn retry_after(&self) -> Duration {
        let Self::Refused(status) = self else {
            return Duration::ZERO;
        };
        let seconds = status
            .details
            .as_ref()
            .map_or(0, |details| details.retry_after_seconds);
        Duration::from_secs(u64::from(seconds)).min(MAX_RETRY_AFTER)
    }
}

/// The error and its causes in one line. The top-level error of an HTTP client says little.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    // The error of a YAML parser quotes the input on lines of its own.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
