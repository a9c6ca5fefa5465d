//! The files of the ledger: `<state directory>/ledger/<container id>:<interface>.jsonl`. Neither
//! name can contain a `:`, so no two keys share a file.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_api::cni::{validate_container_id, validate_ifname};
use plexus_api::wire::LEDGER_DIR;

use super::format::{Line, ParseError, Planned};
use super::record::Record;
use super::summary::RecordSummary;
use super::{LedgerError, RecordKey, dirs, quarantine, retired};
use crate::atomic_file::{AtomicFile, temporary_path};
use crate::durable::sync;
use crate::regular_file;

const SUFFIX: &str = ".jsonl";
/// The largest file that is read, in bytes. Earlier versions did not limit the size of a plan.
pub(super) const MAX_SIZE: u64 = 256 << 20;
/// The time within which a plan is written.
const WRITING: Duration = Duration::from_secs(10);
/// The longest [`Line::DelFailed`] that is replaced, in bytes. The text of its error is shorter.
const MAX_FAILURE: u64 = 64 << 10;

/// The files under one state directory. Blocking.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    state_dir: PathBuf,
    dir: PathBuf,
}

impl Journal {
    /// The files under `state_dir`, which need not exist.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            dir: state_dir.join(LEDGER_DIR),
        }
    }

    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Creates the directories, with access for the owner only: configurations may contain
    /// credentials.
    pub(super) fn create_dirs(&self) -> Result<(), LedgerError> {
        dirs::create(&self.state_dir)?;
        if let Some(parent) = self.state_dir.parent() {
            dirs::sync(parent)?;
        }
        dirs::create(&self.dir)?;
        // Existing directories suffice for DEL, which must also work on a read-only or full file
        // system.
        fs::set_permissions(&self.dir, Permissions::from_mode(0o700))
            .map_err(LedgerError::io("set the mode of", &self.dir))
            .and_then(|()| dirs::sync(&self.state_dir))
            .or_else(|error| {
                if error.is_unwritable() {
                    Ok(())
                } else {
                    Err(error)
                }
            })
    }

    /// The keys of all files.
    pub(super) fn keys(&self) -> Result<Vec<RecordKey>, LedgerError> {
        let list = || -> io::Result<Vec<RecordKey>> {
            let mut keys = Vec::new();
            for entry in fs::read_dir(&self.dir)? {
                keys.extend(entry?.file_name().to_str().and_then(parse_file_name));
            }
            Ok(keys)
        };
        list().map_err(LedgerError::io("list", &self.dir))
    }

    /// Removes the temporary files of replacements that a killed writer has not finished. Only for the
    /// holder of the writer lock, before it writes.
    pub(super) fn remove_temporary_files(&self) -> Result<(), LedgerError> {
        let remove = || -> io::Result<()> {
            for entry in fs::read_dir(&self.dir)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "tmp") {
                    fs::remove_file(path)?;
                }
            }
            Ok(())
        };
        remove().map_err(LedgerError::io("clean up", &self.dir))
    }

    /// Reads a record and leaves the file as it is. Returns `None` if there is no file or if its
    /// first line is not complete.
    pub(super) fn read(&self, key: &RecordKey) -> Result<Option<Record>, LedgerError> {
        match self.read_file(key, Record::parse)? {
            FileContent::Record(record) => Ok(Some(*record)),
            FileContent::Missing | FileContent::TornPlan(_) => Ok(None),
        }
    }

    /// Like [`Journal::read`], without configurations and results.
    pub(super) fn summary(&self, key: &RecordKey) -> Result<Option<RecordSummary>, LedgerError> {
        match self.read_file(key, RecordSummary::parse)? {
            FileContent::Record(record) => Ok(Some(RecordSummary::new(*record))),
            FileContent::Missing | FileContent::TornPlan(_) => Ok(None),
        }
    }

    /// Like [`Journal::summary`], but a first line that has been incomplete for some time is an
    /// error.
    pub(super) fn checked_summary(
        &self,
        key: &RecordKey,
    ) -> Result<Option<RecordSummary>, LedgerError> {
        match self.read_file(key, RecordSummary::parse)? {
            FileContent::Record(record) => Ok(Some(RecordSummary::new(*record))),
            FileContent::TornPlan(path) if is_abandoned(&path) => Err(LedgerError::Corrupt {
                path,
                reason: "its first line is incomplete".to_owned(),
                moved_to: None,
            }),
            FileContent::Missing | FileContent::TornPlan(_) => Ok(None),
        }
    }

    /// The length of a file in bytes; 0 if the file is missing.
    pub(super) fn size(&self, key: &RecordKey) -> usize {
        let found = self.path(key).ok().and_then(|path| path.metadata().ok());
        found.map_or(0, |found| {
            usize::try_from(found.len()).unwrap_or(usize::MAX)
        })
    }

    /// Reads a record and removes a damaged file: a file with an incomplete first line is deleted,
    /// because nothing has run, and any other damaged file is moved to the quarantine. Only for the
    /// holder of the container lock.
    pub(super) fn load(&self, key: &RecordKey) -> Result<Option<Record>, LedgerError> {
        match self.read_file(key, Record::parse) {
            Ok(FileContent::Record(record)) => Ok(Some(*record)),
            Ok(FileContent::Missing) => Ok(None),
            Ok(FileContent::TornPlan(path)) => {
                fs::remove_file(&path).map_err(LedgerError::io("remove", &path))?;
                Ok(None)
            }
            Err(LedgerError::Corrupt { path, reason, .. }) => {
                let moved_to = Some(quarantine::move_file(&self.state_dir, &path)?);
                Err(LedgerError::Corrupt {
                    path,
                    reason,
                    moved_to,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Creates the file of a new record. After success the plan survives a power loss; after an
    /// error there is no file.
    pub(super) fn create(&self, planned: Planned) -> Result<Record, LedgerError> {
        let key = planned.key();
        let path = self.path(&key)?;
        if self.load(&key)?.is_some() {
            return Err(LedgerError::AlreadyAttached { key });
        }
        let write = || -> Result<(), LedgerError> {
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(LedgerError::io("create", &path))?;
            // The plan is written in pieces: it can have several megabytes.
            let mut writer = BufWriter::new(file);
            planned
                .write_to(&mut writer)
                .and_then(|()| writer.flush())
                .and_then(|()| sync(writer.get_ref()))
                .map_err(LedgerError::io("write", &path))?;
            dirs::sync(&self.dir)
        };
        match write() {
            Ok(()) => Ok(Record::new(planned)),
            Err(error) => {
                // The container is locked and there was no file before, so this call has created
                // the file.
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Appends a line with one write, or replaces the last line if both are [`Line::DelFailed`]. The
    /// line survives the end of this process, but not a power loss.
    pub(super) fn append(&self, key: &RecordKey, line: &Line) -> Result<(), LedgerError> {
        let path = self.path(key)?;
        let append = || -> io::Result<()> {
            let bytes = line.to_bytes()?;
            if matches!(line, Line::DelFailed { total: Some(_), .. })
                && replace_failure(&path, &bytes)?
            {
                return Ok(());
            }
            let mut file = OpenOptions::new().read(true).append(true).open(&path)?;
            let end = truncate_torn_line(&file)?;
            file.write_all(&bytes).inspect_err(|_| {
                let _ = file.set_len(end);
            })
        };
        append().map_err(LedgerError::io("append to", &path))
    }

    /// Replaces the file of a record. After success the new content survives a power loss; after an
    /// error, the file has the old content or the new one.
    pub(super) fn replace(&self, key: &RecordKey, bytes: &[u8]) -> Result<(), LedgerError> {
        let path = self.path(key)?;
        AtomicFile::new(&path, 0o600)
            .durable()
            .write(bytes)
            .map_err(LedgerError::io("replace", &path))?;
        dirs::sync(&self.dir)
    }

    /// Removes the file of a record, and the temporary file of a replacement that was interrupted.
    pub(super) fn remove(&self, key: &RecordKey) -> Result<(), LedgerError> {
        let path = self.path(key)?;
        for path in [temporary_path(&path), path] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LedgerError::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Moves the file of a record to the retired records. Returns its new path.
    pub(super) fn retire(&self, key: &RecordKey) -> Result<PathBuf, LedgerError> {
        retired::move_file(&self.state_dir, &self.path(key)?)
    }

    fn read_file(
        &self,
        key: &RecordKey,
        parse: impl FnOnce(&[u8]) -> Result<Option<Record>, ParseError>,
    ) -> Result<FileContent, LedgerError> {
        let path = self.path(key)?;
        let parsed = match regular_file::read(&path, MAX_SIZE) {
            Ok(bytes) => parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(FileContent::Missing);
            }
            Err(error) if regular_file::is_unusable(&error) => {
                Err(ParseError::Corrupt(error.to_string()))
            }
            Err(error) => return Err(LedgerError::io("read", &path)(error)),
        };
        let reason = match parsed {
            Ok(None) => return Ok(FileContent::TornPlan(path)),
            Ok(Some(record)) if record.planned.key() == *key => {
                return Ok(FileContent::Record(Box::new(record)));
            }
            Ok(Some(record)) => {
                format!("the file has the record of {}", record.planned.key())
            }
            Err(ParseError::Corrupt(reason)) => reason,
            Err(reason) => return Err(LedgerError::Newer { path, reason }),
        };
        Err(LedgerError::Corrupt {
            path,
            reason,
            moved_to: None,
        })
    }

    fn path(&self, key: &RecordKey) -> Result<PathBuf, LedgerError> {
        let RecordKey {
            container_id,
            ifname,
        } = key;
        validate_container_id(container_id)?;
        validate_ifname(ifname)?;
        Ok(self.dir.join(format!("{container_id}:{ifname}{SUFFIX}")))
    }
}

enum FileContent {
    Missing,
    /// The first line is not complete.
    TornPlan(PathBuf),
    Record(Box<Record>),
}

/// Whether nothing has written the file for longer than an ADD takes to write a plan.
fn is_abandoned(path: &Path) -> bool {
    let modified = path.metadata().and_then(|found| found.modified());
    let age = modified.map(|modified| modified.elapsed().unwrap_or_default());
    age.is_ok_and(|age| age > WRITING)
}

pub(super) fn parse_file_name(name: &str) -> Option<RecordKey> {
    let (container_id, ifname) = name.strip_suffix(SUFFIX)?.split_once(':')?;
    Some(RecordKey::new(container_id, ifname))
}

/// Replaces the last line if it is a [`Line::DelFailed`], with one write: spaces fill what is left of
/// a longer line. Returns whether it is one.
fn replace_failure(path: &Path, line: &[u8]) -> io::Result<bool> {
    // With `append`, all writes would go to the end.
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let len = file.metadata()?.len();
    let start = len.saturating_sub(MAX_FAILURE);
    let mut end = vec![0; usize::try_from(len - start).map_err(io::Error::other)?];
    file.read_exact_at(&mut end, start)?;
    let lines = end.strip_suffix(b"\n").unwrap_or_default();
    let Some(index) = lines.iter().rposition(|byte| *byte == b'\n') else {
        return Ok(false);
    };
    let old = &end[index + 1..];
    if !matches!(serde_json::from_slice(old), Ok(Line::DelFailed { .. })) {
        return Ok(false);
    }
    let mut new = line.trim_ascii_end().to_vec();
    new.resize(new.len().max(old.len() - 1), b' ');
    new.push(b'\n');
    let at = start + index as u64 + 1;
    file.write_all_at(&new, at).inspect_err(|_| {
        let _ = file.write_all_at(old, at);
        let _ = file.set_len(len);
    })?;
    Ok(true)
}

/// Truncates the file after its last line break, to remove an incomplete write. Returns the length.
fn truncate_torn_line(file: &File) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let mut last = [0];
    if len == 0 || (file.read_at(&mut last, len - 1)? == 1 && last == *b"\n") {
        return Ok(len);
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    let end = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |index| index as u64 + 1);
    file.set_len(end)?;
    Ok(end)
}

#[cfg(test)]
mod tests;
