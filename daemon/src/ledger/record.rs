//! What is known about one attached (container, interface): a plan, and the lines that followed it, folded. Pure.
//!
//! A file of the ledger is JSON lines. The first is the plan. Each later one says what happened since.

use std::path::PathBuf;
use std::time::Duration;

use plexus_api::cni::{CniError, Code, PluginResult};
use plexus_api::wire::Moment;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::{Attachment, DefaultRoutes, NetnsId, PodRef};

/// The format of [`Planned`] that this version writes, and the newest that it reads. Fields and line kinds that an
/// older version may ignore do not raise it.
pub(crate) const FORMAT: u32 = 1;
/// The version of this plexusd, for [`Planned::plexusd`].
pub(crate) const PLEXUSD: &str = env!("CARGO_PKG_VERSION");

/// DEL fails this often before the record is orphaned.
const FAILURES_TO_ORPHAN: u32 = 3;

/// The whole plan of one ADD: all that its DEL needs, without the API server, the pod, or the definitions.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Planned {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// [`PLEXUSD`]: the version that wrote it, so that an older one can name what is needed to read it.
    #[serde(default)]
    pub(crate) plexusd: String,
    /// `CNI_CONTAINERID`.
    pub(crate) container_id: String,
    /// `CNI_IFNAME` of the runtime.
    pub(crate) ifname: String,
    /// `CNI_NETNS`, as the runtime gave it; may be empty.
    #[serde(default)]
    pub(crate) netns: String,
    /// What that path led to when the plan was made.
    #[serde(default)]
    pub(crate) netns_id: Option<NetnsId>,
    /// The boot during which the plan was made.
    pub(crate) boot_id: String,
    /// When, in milliseconds since 1970: for people. Clocks are set.
    pub(crate) created_unix_ms: u64,
    /// When its ADD came, in nanoseconds since the boot; none where that is not known: an older plexusd wrote it,
    /// or Multus has attached it.
    #[serde(default)]
    pub(crate) created_boottime_ns: Option<u64>,
    /// The pod.
    pub(crate) pod: PodRef,
    /// `CNI_PATH` for the plugins.
    pub(crate) cni_path: Vec<PathBuf>,
    /// What is attached, in order.
    pub(crate) attachments: Vec<Attachment>,
    /// Who owns the default routes.
    #[serde(default)]
    pub(crate) default_routes: DefaultRoutes,
}

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
struct First<P> {
    planned: P,
}

/// A later line of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Line {
    /// The plugins of this attachment are about to run.
    Started {
        /// Its index in the plan.
        index: usize,
    },
    /// Its ADD has succeeded.
    Added {
        /// Its index in the plan.
        index: usize,
        /// What the last plugin answered.
        result: Box<RawValue>,
    },
    /// The whole ADD has succeeded.
    Completed,
    /// All of it is about to be deleted. From here on it goes, whether or not the runtime asks again.
    Deleting,
    /// The DEL of this attachment has really succeeded.
    Deleted {
        /// Its index in the plan.
        index: usize,
    },
    /// A DEL of the whole has failed.
    DelFailed {
        /// When, in milliseconds since 1970.
        unix_ms: u64,
        /// Why.
        error: String,
    },
    /// The runtime was told that DEL succeeded, and we go on trying alone.
    Orphaned,
    /// The network-status is on the pod, or there is no pod any more to write it to.
    StatusWritten,
}

/// A file of the ledger, read.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a line that is there or not"
)]
pub(crate) struct Record {
    /// The plan.
    pub(crate) planned: Planned,
    /// What became of each attachment, by index in the plan.
    pub(crate) attachments: Vec<AttachmentState>,
    /// The whole ADD has succeeded.
    pub(crate) completed: bool,
    /// Its DEL, or the rollback of its ADD, has begun.
    pub(crate) deleting: bool,
    /// Nothing is left to do about network-status.
    pub(crate) status_written: bool,
    /// The DELs that failed.
    pub(crate) del_failures: DelFailures,
    /// The runtime thinks that it is gone.
    pub(crate) orphaned: bool,
    /// How many lines this version could not read: of a newer kind, or damaged.
    pub(crate) unreadable: usize,
}

/// What became of one attachment.
#[derive(Debug, Default)]
pub(crate) struct AttachmentState {
    /// Its plugins may have run.
    pub(crate) started: bool,
    /// The answer of its ADD.
    pub(crate) added: Option<Box<RawValue>>,
    /// Its DEL has really succeeded.
    pub(crate) deleted: bool,
}

/// The failed DELs of a record.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct DelFailures {
    /// How many.
    pub(crate) count: u32,
    /// When the first was, in milliseconds since 1970.
    pub(crate) first_unix_ms: u64,
    /// When the last was.
    pub(crate) last_unix_ms: u64,
    /// What it said.
    pub(crate) last_error: String,
}

impl DelFailures {
    /// Whether the runtime has been told often and long enough, so that the record is to be orphaned: three failures
    /// over at least `patience`, so that a runtime's quick retries do not exhaust it (decision 12).
    pub(crate) fn exhausted(&self, patience: Duration) -> bool {
        let failing = Duration::from_millis(self.last_unix_ms.saturating_sub(self.first_unix_ms));
        self.count >= FAILURES_TO_ORPHAN && failing >= patience
    }
}

/// Why the bytes of a file are not a record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    /// The first line is complete, but not a plan.
    #[error("{0}")]
    Corrupt(String),
    /// A newer plexusd wrote it.
    #[error(
        "it has format {format}, this plexusd reads up to {FORMAT}; it needs plexusd {plexusd} or newer"
    )]
    Newer {
        /// Its format.
        format: u32,
        /// The version that wrote it.
        plexusd: String,
    },
}

impl Planned {
    /// Interfaces and their networks, for who reads: `eth0=pods,net1=default/lan`.
    pub(crate) fn networks(&self) -> String {
        let networks: Vec<_> = self
            .attachments
            .iter()
            .map(|a| format!("{}={}", a.ifname, a.network))
            .collect();
        networks.join(",")
    }

    /// Whether its ADD certainly came after `moment`, as seen in the boot `current_boot_id`.
    pub(crate) fn is_after(&self, moment: &Moment, current_boot_id: &str) -> bool {
        let later = || {
            self.created_boottime_ns
                .is_some_and(|created| created > moment.boottime_ns)
        };
        self.boot_id == current_boot_id && (moment.boot_id != current_boot_id || later())
    }

    /// The first line of a file, with its line break.
    pub(super) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        to_line(&First { planned: self })
    }
}

impl Line {
    /// The line as bytes, with its line break.
    pub(super) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        to_line(self)
    }
}

fn to_line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value)?;
    // Raw values keep the white space of their author. JSON allows a line break nowhere else.
    for byte in bytes
        .iter_mut()
        .filter(|byte| matches!(byte, b'\n' | b'\r'))
    {
        *byte = b' ';
    }
    bytes.push(b'\n');
    Ok(bytes)
}

/// Where a record is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its ADD has not ended.
    Adding,
    /// Its ADD has succeeded.
    Attached,
    /// Its DEL has begun, or has failed.
    Deleting,
    /// Its DEL goes on failing, and the runtime thinks that it has succeeded.
    Orphaned,
}

impl Phase {
    /// The word for it.
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
    /// A record of which nothing has happened yet.
    pub(crate) fn new(planned: Planned) -> Self {
        let attachments = planned
            .attachments
            .iter()
            .map(|_| AttachmentState::default())
            .collect();
        Self {
            planned,
            attachments,
            completed: false,
            deleting: false,
            status_written: false,
            del_failures: DelFailures::default(),
            orphaned: false,
            unreadable: 0,
        }
    }

    /// Where it is in its life.
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

    /// Reads the bytes of a file. Nothing where the first line is not complete: its writer died before anything ran.
    /// A torn last line is ignored.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, ParseError> {
        let mut lines = complete_lines(bytes);
        let Some(first) = lines.next() else {
            return Ok(None);
        };
        let mut record = Self::new(parse_plan(first)?);
        for line in lines {
            match serde_json::from_slice(line) {
                Ok(line) => record.apply(line),
                Err(_) => record.unreadable += 1,
            }
        }
        Ok(Some(record))
    }

    /// Takes in one more line.
    pub(crate) fn apply(&mut self, line: Line) {
        match line {
            Line::Started { index } => self.change(index, |state| state.started = true),
            Line::Added { index, result } => self.change(index, |state| {
                state.started = true;
                state.added = Some(result);
            }),
            Line::Deleted { index } => self.change(index, |state| state.deleted = true),
            Line::Completed => self.completed = true,
            Line::Deleting => self.deleting = true,
            Line::StatusWritten => self.status_written = true,
            Line::Orphaned => self.orphaned = true,
            Line::DelFailed { unix_ms, error } => {
                let failures = &mut self.del_failures;
                // A clock that was set back must not keep the pod until it is there again.
                if failures.count == 0 || unix_ms < failures.last_unix_ms {
                    failures.first_unix_ms = unix_ms;
                }
                failures.count = failures.count.saturating_add(1);
                failures.last_unix_ms = unix_ms;
                failures.last_error = error;
            }
        }
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&mut AttachmentState)) {
        match self.attachments.get_mut(index) {
            Some(state) => change(state),
            None => self.unreadable += 1,
        }
    }

    /// Whether the runtime has what it asked for, and has not asked for its end.
    pub(crate) fn is_attached(&self) -> bool {
        self.completed && !self.deleting
    }

    /// The attachments that DEL has to go to, in its order: those that were started and are not deleted, last first.
    ///
    /// Only the plan is synced. After a reboot, or where lines cannot be read, what is not known to be deleted counts
    /// as started: a DEL too many does no harm.
    pub(crate) fn to_undo(&self, current_boot_id: &str) -> Vec<usize> {
        let certain = self.planned.boot_id == current_boot_id && self.unreadable == 0;
        let left = |state: &AttachmentState| !state.deleted && (state.started || !certain);
        (0..self.attachments.len())
            .rev()
            .filter(|&index| left(&self.attachments[index]))
            .collect()
    }

    /// `prevResult` for the DEL of an attachment, in its network's version. None where there is none, or none that
    /// can be used: DEL goes on without (P-089, R-087).
    pub(crate) fn result_for_del(&self, index: usize) -> Option<PluginResult> {
        self.result(index).and_then(Result::ok)
    }

    /// `prevResult` for the CHECK of an attachment, in its network's version.
    ///
    /// # Errors
    /// [`Code::CheckFailed`] where there is none, or none that can be used.
    pub(crate) fn result_for_check(&self, index: usize) -> Result<PluginResult, CniError> {
        let network = self
            .planned
            .attachments
            .get(index)
            .map_or("", |attachment| &attachment.network);
        let failed =
            |why: &str| CniError::new(Code::CheckFailed, format!("network {network:?}: {why}"));
        match self.result(index) {
            None => Err(failed("its ADD left no result to check against")),
            Some(Err(error)) => Err(failed(&format!(
                "the result of its ADD cannot be used: {}",
                error.msg
            ))),
            Some(Ok(result)) => Ok(result),
        }
    }

    fn result(&self, index: usize) -> Option<Result<PluginResult, CniError>> {
        let raw = self.attachments.get(index)?.added.as_ref()?;
        let version = self.planned.attachments.get(index)?.config.cni_version;
        Some(
            PluginResult::parse(raw.get().as_bytes(), version)
                .and_then(|result| result.to_version(version))
                .map_err(CniError::from),
        )
    }
}

/// The lines that end in a line break, without it.
fn complete_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_suffix(b"\n"))
}

/// The format comes first: a newer plan need not have the fields of this one.
fn parse_plan(line: &[u8]) -> Result<Planned, ParseError> {
    #[derive(Deserialize)]
    struct Written {
        format: u32,
        #[serde(default)]
        plexusd: String,
    }
    let corrupt = |error: serde_json::Error| {
        ParseError::Corrupt(format!("its first line is not a plan: {error}"))
    };
    let First {
        planned: Written { format, plexusd },
    } = serde_json::from_slice(line).map_err(corrupt)?;
    if format > FORMAT {
        return Err(ParseError::Newer { format, plexusd });
    }
    serde_json::from_slice(line)
        .map(|First { planned }| planned)
        .map_err(corrupt)
}

#[cfg(test)]
mod tests;
