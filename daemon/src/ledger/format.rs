//! The file format of a record: JSON lines. The first line is the plan, and each later line records
//! one step.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use plexus_api::wire::Moment;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::RecordKey;
use crate::model::{Attachment, DefaultRoutes, NetnsId, PodRef};

/// The format of [`Planned`] that this version writes, and the newest that it can read. New fields
/// and kinds of lines that an older version may ignore do not increase the number.
pub(crate) const FORMAT: u32 = 1;
/// The version of this plexusd, for [`Planned::plexusd`].
pub(crate) const PLEXUSD: &str = env!("CARGO_PKG_VERSION");

/// The plan of one ADD: everything that its DEL needs, without the API server, the pod, or the
/// definitions.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Planned<A = Attachment> {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// The version of plexusd that wrote the plan, so that an older plexusd can name the version
    /// that reads it.
    #[serde(default)]
    pub(crate) plexusd: String,
    /// `CNI_CONTAINERID`.
    pub(crate) container_id: String,
    /// `CNI_IFNAME` of the runtime.
    pub(crate) ifname: String,
    /// `CNI_NETNS` of the runtime. May be empty.
    #[serde(default)]
    pub(crate) netns: String,
    /// The namespace that `netns` led to when the plan was made.
    #[serde(default)]
    pub(crate) netns_id: Option<NetnsId>,
    /// The boot in which the plan was made.
    pub(crate) boot_id: String,
    /// The creation time in milliseconds since 1970, for display: the clock may be set.
    pub(crate) created_unix_ms: u64,
    /// The arrival of the ADD in nanoseconds since boot. `None` if an older plexusd wrote the
    /// record or if Multus attached the sandbox.
    #[serde(default)]
    pub(crate) created_boottime_ns: Option<u64>,
    pub(crate) pod: PodRef,
    /// `CNI_PATH` for the plugins.
    pub(crate) cni_path: Vec<PathBuf>,
    /// `PATH` for the plugins, if the runtime had one. No other variable is kept: variables may
    /// contain secrets.
    #[serde(default)]
    pub(crate) executable_path: Option<String>,
    /// The attachments, in the order of their ADDs.
    pub(crate) attachments: Vec<A>,
    /// The owners of the default routes.
    #[serde(default)]
    pub(crate) default_routes: DefaultRoutes,
    /// How often the attachments were changed since the ADD.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) revision: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
struct First<P> {
    planned: P,
}

/// A later line of a file. `index` is the index of an attachment in the plan.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Line {
    /// The plugins of this attachment are about to run.
    Started { index: usize },
    /// The ADD of this attachment has succeeded.
    Added {
        index: usize,
        /// The result of the last plugin.
        result: Box<RawValue>,
    },
    /// The device-info document of this attachment, for network-status.
    DeviceInfo {
        index: usize,
        document: Box<RawValue>,
    },
    /// The interfaces of the results that were links of the sandbox after the last ADD. A DPDK or
    /// vhost-user interface has no link.
    Links { names: BTreeSet<String> },
    /// The whole ADD has succeeded.
    Completed,
    /// A DEL or a rollback of the whole record begins. Recovery finishes it even if the runtime
    /// does not retry.
    Deleting,
    /// This attachment is about to be detached while the others stay. Its DEL is repeated until it
    /// succeeds.
    Detaching { index: usize },
    /// The DEL of this attachment has succeeded.
    Deleted { index: usize },
    /// A DEL of the whole record has failed. Replaces a line of this kind if that is the last one:
    /// a DEL may fail for ever.
    DelFailed {
        /// The time in milliseconds since 1970.
        unix_ms: u64,
        error: String,
        /// `None` if an older plexusd wrote the line, which then counts one failure.
        #[serde(default)]
        total: Option<FailureTotal>,
    },
    /// A DEL has failed for attachments whose ADD never succeeded, after their sandbox was gone, and
    /// their plugins reported the failures. Follows [`Line::DelFailed`].
    Refused {
        /// The time in milliseconds since 1970.
        unix_ms: u64,
    },
    /// DEL has answered success to the runtime although it failed; recovery retries it.
    Orphaned,
    /// network-status is written to the pod, or the pod no longer exists.
    StatusWritten,
}

/// The failures up to and including that of a [`Line::DelFailed`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FailureTotal {
    pub(super) count: u32,
    /// The time of the first failure in milliseconds since 1970.
    pub(super) first_unix_ms: u64,
}

/// Why the bytes of a file are not a record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    /// The first line is complete, but not a plan.
    #[error("{0}")]
    Corrupt(String),
    #[error(
        "format {format} is newer than this plexusd can read ({FORMAT}); use plexusd {plexusd} or newer"
    )]
    Newer {
        format: u32,
        /// The version of plexusd that wrote the file.
        plexusd: String,
    },
}

impl Planned {
    pub(crate) fn key(&self) -> RecordKey {
        RecordKey::new(&self.container_id, &self.ifname)
    }

    /// Interfaces and their networks, for display: `eth0=pods,net1=default/lan`.
    pub(crate) fn networks(&self) -> String {
        let networks: Vec<_> = self
            .attachments
            .iter()
            .map(|a| format!("{}={}", a.ifname, a.network))
            .collect();
        networks.join(",")
    }

    /// Whether the ADD certainly arrived after `moment`. `current_boot_id` is the current
    /// boot.
    pub(crate) fn is_after(&self, moment: &Moment, current_boot_id: &str) -> bool {
        let later_in_boot = || {
            self.created_boottime_ns
                .is_some_and(|created| created > moment.boottime_ns)
        };
        self.boot_id == current_boot_id && (moment.boot_id != current_boot_id || later_in_boot())
    }

    /// Writes the first line of a file, with its line break.
    pub(super) fn write_to(&self, writer: impl Write) -> io::Result<()> {
        write_line(&First { planned: self }, writer)
    }

    /// The first line of a file, with its line break.
    #[cfg(test)]
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes)?;
        Ok(bytes)
    }
}

impl<A> Planned<A> {
    pub(super) fn map_attachments<B>(self, map: impl FnMut(A) -> B) -> Planned<B> {
        Planned {
            format: self.format,
            plexusd: self.plexusd,
            container_id: self.container_id,
            ifname: self.ifname,
            netns: self.netns,
            netns_id: self.netns_id,
            boot_id: self.boot_id,
            created_unix_ms: self.created_unix_ms,
            created_boottime_ns: self.created_boottime_ns,
            pod: self.pod,
            cni_path: self.cni_path,
            executable_path: self.executable_path,
            attachments: self.attachments.into_iter().map(map).collect(),
            default_routes: self.default_routes,
            revision: self.revision,
        }
    }
}

impl<A: DeserializeOwned> Planned<A> {
    /// Parses the first line of a file. The format is checked first: a newer plan need not have the
    /// fields of this format.
    pub(super) fn parse(line: &[u8]) -> Result<Self, ParseError> {
        #[derive(Deserialize)]
        struct Written {
            format: u32,
            #[serde(default)]
            plexusd: String,
        }
        let corrupt = |error: serde_json::Error| {
            ParseError::Corrupt(format!("the first line is not a plan: {error}"))
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
}

impl Line {
    /// The line as bytes, with its line break.
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        write_line(self, &mut bytes)?;
        Ok(bytes)
    }
}

/// The complete lines, without their line breaks. A torn last line is omitted.
pub(super) fn complete_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_suffix(b"\n"))
}

pub(super) fn write_line(value: &impl Serialize, writer: impl Write) -> io::Result<()> {
    let mut line = OneLine(writer);
    serde_json::to_writer(&mut line, value)?;
    line.0.write_all(b"\n")
}

/// Replaces line breaks by spaces. Raw values keep their white space, the only place in which JSON
/// allows line breaks.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
        match bytes.iter().position(is_break) {
            Some(0) => self.0.write_all(b" ").map(|()| 1),
            Some(end) => self.0.write(&bytes[..end]),
            None => self.0.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests;
