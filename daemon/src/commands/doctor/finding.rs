//! What a check finds.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::leases::Lease;
use crate::ledger::RecordKey;
use crate::problem::Problem;

/// How bad something is. The exit code of the command is that of the worst finding, with the values
/// that monitoring plugins use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Ok,
    /// Pods of this node work now, but something will go wrong, or does already elsewhere.
    Warning,
    /// Pods of this node cannot start or end as they should.
    Failed,
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What it is about: a file, a pod, a definition.
    pub(super) subject: String,
    /// One line.
    pub(super) cause: String,
    /// What to do, if the cause does not say it.
    pub(super) remedy: Option<String>,
    /// The outcome of `--fix`: `fixed`, or why that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
    /// What `--fix` does.
    #[serde(skip)]
    pub(super) repair: Option<Repair>,
}

/// What `--fix` does about a finding. The ledger proves that what it deletes belongs to Plexus.
#[derive(Debug, Clone)]
pub(super) enum Repair {
    /// The daemon retries the failed DEL of a record.
    Retry(RecordKey),
    /// Doctor removes leases of host-local: the file and the expected content of each.
    RemoveLeases(Vec<(PathBuf, Lease)>),
}

impl Finding {
    pub(super) fn failed(subject: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::new(Level::Failed, subject, cause)
    }

    /// A failure that the daemon would report with the same words.
    pub(super) fn of(subject: impl Into<String>, Problem { text, remedy }: Problem) -> Self {
        Self::failed(subject, text).with_remedy(remedy)
    }

    pub(super) fn warning(subject: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::new(Level::Warning, subject, cause)
    }

    pub(super) fn new(level: Level, subject: impl Into<String>, cause: impl Into<String>) -> Self {
        let line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            level,
            subject: line(subject.into()),
            cause: line(plexus_api::without_os_codes(&cause.into()).into_owned()),
            remedy: None,
            fix: None,
            repair: None,
        }
    }

    #[must_use]
    pub(super) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.cause)?;
        let remedy = self.remedy.iter();
        remedy
            .clone()
            .try_for_each(|remedy| write!(f, "; {remedy}"))
    }
}

/// The outcome of a check.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Empty if everything is in order.
    Findings(Vec<Finding>),
    /// There is nothing to check, for this reason.
    NotApplicable(&'static str),
}

impl From<Vec<Finding>> for Outcome {
    fn from(findings: Vec<Finding>) -> Self {
        Self::Findings(findings)
    }
}

impl From<Option<Finding>> for Outcome {
    fn from(finding: Option<Finding>) -> Self {
        Self::Findings(finding.into_iter().collect())
    }
}
