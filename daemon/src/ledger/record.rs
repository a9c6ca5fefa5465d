//! The state of one record: its plan, with all later lines applied. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use plexus_api::cni::PluginResult;
use serde_json::value::RawValue;

use super::error::PreviousResultError;
use super::format::{FailureTotal, Line, ParseError, Planned, complete_lines};

/// The number of failed DELs before a record is orphaned.
const FAILURES_TO_ORPHAN: u32 = 3;
/// The number of refused DELs before a record is retired.
const REFUSALS_TO_RETIRE: u32 = 3;

/// The content of one file of the ledger.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says whether a kind of line is present"
)]
pub(crate) struct Record {
    pub(crate) planned: Planned,
    /// The state of each attachment, by its index in the plan.
    pub(crate) attachments: Vec<AttachmentState>,
    /// See [`Line::Links`]. `None` if an older plexusd wrote the record or if Multus attached the
    /// sandbox.
    pub(crate) links: Option<BTreeSet<String>>,
    /// The whole ADD has succeeded.
    pub(crate) completed: bool,
    /// A DEL, or the rollback of the ADD, has begun.
    pub(crate) deleting: bool,
    /// network-status is written, or no longer needed.
    pub(crate) status_written: bool,
    pub(crate) del_failures: DelFailures,
    pub(crate) refusals: Refusals,
    /// DEL has answered success to the runtime although it failed.
    pub(crate) orphaned: bool,
    /// The number of lines that this version cannot read: of a newer kind, or damaged.
    pub(crate) unreadable: usize,
}

/// The state of one attachment.
#[derive(Debug, Default)]
pub(crate) struct AttachmentState {
    /// The plugins may have run.
    pub(crate) started: bool,
    /// The result of the ADD.
    pub(crate) added: Option<Box<RawValue>>,
    /// The device-info document.
    pub(crate) device_info: Option<Box<RawValue>>,
    /// The attachment is to be detached while the others stay.
    pub(crate) detaching: bool,
    /// The DEL has succeeded.
    pub(crate) deleted: bool,
}

/// The failed DELs of a record.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct DelFailures {
    pub(crate) count: u32,
    /// The time of the first failure in milliseconds since 1970.
    pub(crate) first_unix_ms: u64,
    /// The time of the last failure in milliseconds since 1970.
    pub(crate) last_unix_ms: u64,
    pub(crate) last_error: String,
}

impl DelFailures {
    /// Whether the record is due to be orphaned: three failures over at least `orphan_after`, so
    /// that quick retries of a runtime do not suffice (decision 12).
    pub(crate) fn exhausted(&self, orphan_after: Duration) -> bool {
        let failing = Duration::from_millis(self.last_unix_ms.saturating_sub(self.first_unix_ms));
        self.count >= FAILURES_TO_ORPHAN && failing >= orphan_after
    }

    /// The total with one more failure.
    fn total_with(&self, unix_ms: u64) -> FailureTotal {
        // If the clock was set back, the period starts over: the pod must not wait for the old time
        // to return.
        let starts_over = self.count == 0 || unix_ms < self.last_unix_ms;
        FailureTotal {
            count: self.count.saturating_add(1),
            first_unix_ms: if starts_over {
                unix_ms
            } else {
                self.first_unix_ms
            },
        }
    }
}

/// The DELs that failed although nothing can be left of the sandbox (decision 31): the ADD of the
/// attachments never succeeded, the sandbox is gone, and the plugins themselves reported failures.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Refusals {
    pub(crate) count: u32,
    first_unix_ms: u64,
    last_unix_ms: u64,
}

impl Refusals {
    /// Whether the record is due to be retired: three refusals over at least `retire_after`.
    pub(crate) fn exhausted(&self, retire_after: Duration) -> bool {
        let refusing = Duration::from_millis(self.last_unix_ms.saturating_sub(self.first_unix_ms));
        self.count >= REFUSALS_TO_RETIRE && refusing >= retire_after
    }

    fn add(&mut self, unix_ms: u64) {
        // If the clock was set back, the period starts over, as for other failures.
        if self.count == 0 || unix_ms < self.last_unix_ms {
            self.first_unix_ms = unix_ms;
        }
        self.count = self.count.saturating_add(1);
        self.last_unix_ms = unix_ms;
    }
}

/// The phase of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The ADD has not finished.
    Adding,
    /// The ADD has succeeded.
    Attached,
    /// A DEL has begun, or has failed.
    Deleting,
    /// DEL keeps failing, but has answered success to the runtime.
    Orphaned,
}

impl Phase {
    /// The name in metrics and in the output of `plexusd ledger list`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Adding => "adding",
            Self::Attached => "attached",
            Self::Deleting => "deleting",
            Self::Orphaned => "orphaned",
        }
    }
}

impl Record {
    /// The record of a plan without further lines.
    pub(crate) fn new(planned: Planned) -> Self {
        let attachments = planned
            .attachments
            .iter()
            .map(|_| AttachmentState::default())
            .collect();
        Self {
            planned,
            attachments,
            links: None,
            completed: false,
            deleting: false,
            status_written: false,
            del_failures: DelFailures::default(),
            refusals: Refusals::default(),
            orphaned: false,
            unreadable: 0,
        }
    }

    /// Parses the bytes of a file. Returns `None` if the first line is not complete: its writer was
    /// killed before anything ran. A torn last line is ignored.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, ParseError> {
        Self::parse_lines(bytes, Planned::parse, |line| line)
    }

    /// Like [`Record::parse`], with `plan` to parse the first line, and `map` for each later line.
    pub(super) fn parse_lines(
        bytes: &[u8],
        plan: impl FnOnce(&[u8]) -> Result<Planned, ParseError>,
        map: impl Fn(Line) -> Line,
    ) -> Result<Option<Self>, ParseError> {
        let mut lines = complete_lines(bytes);
        let Some(first) = lines.next() else {
            return Ok(None);
        };
        let mut record = Self::new(plan(first)?);
        for line in lines {
            match serde_json::from_slice(line) {
                Ok(line) => record.apply(map(line)),
                Err(_) => record.unreadable += 1,
            }
        }
        Ok(Some(record))
    }

    /// Applies one more line.
    pub(crate) fn apply(&mut self, line: Line) {
        match line {
            Line::Started { index } => self.update(index, |state| state.started = true),
            Line::Added { index, result } => self.update(index, |state| {
                state.started = true;
                state.added = Some(result);
            }),
            Line::DeviceInfo { index, document } => self.update(index, |state| {
                state.device_info = Some(document);
            }),
            Line::Detaching { index } => self.update(index, |state| state.detaching = true),
            Line::Deleted { index } => self.update(index, |state| state.deleted = true),
            Line::Links { names } => self.links = Some(names),
            Line::Completed => self.completed = true,
            Line::Deleting => self.deleting = true,
            Line::StatusWritten => self.status_written = true,
            Line::Orphaned => self.orphaned = true,
            Line::Refused { unix_ms } => self.refusals.add(unix_ms),
            Line::DelFailed {
                unix_ms,
                error,
                total,
            } => {
                let total = total.unwrap_or_else(|| self.del_failures.total_with(unix_ms));
                self.del_failures = DelFailures {
                    count: total.count,
                    first_unix_ms: total.first_unix_ms,
                    last_unix_ms: unix_ms,
                    last_error: error,
                };
            }
        }
    }

    /// The line for one more failed DEL.
    pub(crate) fn failed_del(&self, unix_ms: u64, error: String) -> Line {
        Line::DelFailed {
            unix_ms,
            error,
            total: Some(self.del_failures.total_with(unix_ms)),
        }
    }

    fn update(&mut self, index: usize, update: impl FnOnce(&mut AttachmentState)) {
        match self.attachments.get_mut(index) {
            Some(state) => update(state),
            None => self.unreadable += 1,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        if self.orphaned {
            Phase::Orphaned
        } else if self.deleting || self.del_failures.count > 0 {
            Phase::Deleting
        } else if self.completed {
            Phase::Attached
        } else {
            Phase::Adding
        }
    }

    /// Whether the ADD has succeeded and no DEL has begun.
    pub(crate) fn is_attached(&self) -> bool {
        self.completed && !self.deleting
    }

    /// The attachments that need a DEL, in the order of DEL: those that were started and are not
    /// deleted, the last one first.
    ///
    /// Only the plan is synced. After a reboot, or if a line cannot be read, every attachment that
    /// is not known to be deleted counts as started: a redundant DEL does no harm.
    pub(crate) fn to_undo(&self, current_boot_id: &str) -> Vec<usize> {
        let lines_are_complete = self.planned.boot_id == current_boot_id && self.unreadable == 0;
        let needs_del =
            |state: &AttachmentState| !state.deleted && (state.started || !lines_are_complete);
        (0..self.attachments.len())
            .rev()
            .filter(|&index| needs_del(&self.attachments[index]))
            .collect()
    }

    /// Whether the ADD of an attachment certainly never succeeded. A line that cannot be read may
    /// have been its result.
    pub(crate) fn never_added(&self, index: usize) -> bool {
        self.unreadable == 0 && self.attachments[index].added.is_none()
    }

    /// `prevResult` for the DEL of an attachment, in the version of its network. `None` if there is
    /// no usable result: DEL then runs without one (P-089, R-087).
    pub(crate) fn result_for_del(&self, index: usize) -> Option<PluginResult> {
        self.result_for_check(index).ok()
    }

    /// `prevResult` for the CHECK of an attachment, in the version of its network.
    ///
    /// # Errors
    /// [`PreviousResultError`] if there is no usable result.
    pub(crate) fn result_for_check(
        &self,
        index: usize,
    ) -> Result<PluginResult, PreviousResultError> {
        let attachment = self.planned.attachments.get(index);
        let added = self
            .attachments
            .get(index)
            .and_then(|state| state.added.as_ref());
        let (attachment, raw) = attachment.zip(added).ok_or(PreviousResultError::Missing)?;
        let version = attachment.config.cni_version;
        let result = PluginResult::parse(raw.get().as_bytes(), version)?;
        Ok(result.to_version(version)?)
    }
}

#[cfg(test)]
mod tests;
