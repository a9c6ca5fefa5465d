//! The files of the ledger: `<state directory>/ledger/<container id>:<interface>.jsonl`. Neither name can contain the
//! `:`, so no two keys share a file.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use plexus_api::cni::{validate_container_id, validate_ifname};
use plexus_api::wire::LEDGER_DIR;

use super::record::{Line, ParseError, Planned, Record};
use super::{Key, LedgerError};

const QUARANTINE_DIR: &str = "quarantine";
const SUFFIX: &str = ".jsonl";

/// The files under one state directory. Blocking.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    state_dir: PathBuf,
    dir: PathBuf,
}

impl Journal {
    /// The files under `state_dir`, which need not exist.
    pub(super) fn at(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            dir: state_dir.join(LEDGER_DIR),
        }
    }

    /// The directory above.
    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Where the files are.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the directories. Configurations may hold credentials, so nobody else may look.
    pub(super) fn prepare(&self) -> Result<(), LedgerError> {
        make_dir(&self.state_dir)?;
        make_dir(&self.dir)?;
        fs::set_permissions(&self.dir, Permissions::from_mode(0o700))
            .map_err(LedgerError::io("set the mode of", &self.dir))?;
        sync_dir(&self.state_dir)
    }

    /// The keys of all files.
    pub(super) fn keys(&self) -> Result<Vec<Key>, LedgerError> {
        let list = || -> io::Result<Vec<Key>> {
            let mut keys = Vec::new();
            for entry in fs::read_dir(&self.dir)? {
                keys.extend(entry?.file_name().to_str().and_then(parse_file_name));
            }
            Ok(keys)
        };
        list().map_err(LedgerError::io("list", &self.dir))
    }

    /// Reads a record and leaves the file as it is, whatever is in it. Nothing where there is no file, or one whose
    /// first line is not complete.
    pub(super) fn read(
        &self,
        container_id: &str,
        ifname: &str,
    ) -> Result<Option<Record>, LedgerError> {
        match self.read_file(container_id, ifname)? {
            Found::Record(record) => Ok(Some(*record)),
            Found::Nothing | Found::Torn(_) => Ok(None),
        }
    }

    /// Reads a record and clears away what is none: a file whose first line is not complete is removed, since nothing
    /// has run; another that cannot be read is moved to the quarantine. Only for who holds the lane.
    pub(super) fn load(
        &self,
        container_id: &str,
        ifname: &str,
    ) -> Result<Option<Record>, LedgerError> {
        match self.read_file(container_id, ifname) {
            Ok(Found::Record(record)) => Ok(Some(*record)),
            Ok(Found::Nothing) => Ok(None),
            Ok(Found::Torn(path)) => {
                fs::remove_file(&path).map_err(LedgerError::io("remove", &path))?;
                Ok(None)
            }
            Err(LedgerError::Corrupt { path, why, .. }) => {
                let moved_to = Some(quarantine(&self.state_dir, &path)?);
                Err(LedgerError::Corrupt {
                    path,
                    why,
                    moved_to,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the file of a new record. When this returns, the plan survives a power loss; when it fails, there is no
    /// file.
    pub(super) fn create(&self, planned: Planned) -> Result<Record, LedgerError> {
        let path = self.path(&planned.container_id, &planned.ifname)?;
        if self.load(&planned.container_id, &planned.ifname)?.is_some() {
            let Planned {
                container_id,
                ifname,
                ..
            } = planned;
            return Err(LedgerError::AlreadyAttached {
                container_id,
                ifname,
            });
        }
        let bytes = planned
            .to_bytes()
            .map_err(|error| LedgerError::io("write", &path)(error.into()))?;
        let write = || -> Result<(), LedgerError> {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(LedgerError::io("create", &path))?;
            file.write_all(&bytes)
                .and_then(|()| file.sync_data())
                .map_err(LedgerError::io("write", &path))?;
            sync_dir(&self.dir)
        };
        match write() {
            Ok(()) => Ok(Record::new(planned)),
            Err(error) => {
                // The lane is ours and there was no file, so this one is ours too.
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Appends a line with one write. It survives the end of this process, not a power loss.
    pub(super) fn append(&self, planned: &Planned, line: &Line) -> Result<(), LedgerError> {
        let path = self.path(&planned.container_id, &planned.ifname)?;
        let append = || -> io::Result<()> {
            let bytes = line.to_bytes()?;
            let mut file = OpenOptions::new().read(true).append(true).open(&path)?;
            let end = cut_torn_line(&file)?;
            file.write_all(&bytes).inspect_err(|_| {
                let _ = file.set_len(end);
            })
        };
        append().map_err(LedgerError::io("append to", &path))
    }

    /// Removes the file of a record.
    pub(super) fn remove(&self, planned: &Planned) -> Result<(), LedgerError> {
        let path = self.path(&planned.container_id, &planned.ifname)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LedgerError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn read_file(&self, container_id: &str, ifname: &str) -> Result<Found, LedgerError> {
        let path = self.path(container_id, ifname)?;
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(LedgerError::io("read", &path)(error)),
        };
        let corrupt = |path, why| {
            Err(LedgerError::Corrupt {
                path,
                why,
                moved_to: None,
            })
        };
        match Record::parse(&bytes) {
            Ok(None) => Ok(Found::Torn(path)),
            Ok(Some(record))
                if record.planned.container_id != container_id
                    || record.planned.ifname != ifname =>
            {
                let Planned {
                    container_id,
                    ifname,
                    ..
                } = record.planned;
                corrupt(
                    path,
                    format!("it is the record of container {container_id} interface {ifname}"),
                )
            }
            Ok(Some(record)) => Ok(Found::Record(Box::new(record))),
            Err(ParseError::Corrupt(why)) => corrupt(path, why),
            Err(why) => Err(LedgerError::Newer { path, why }),
        }
    }

    fn path(&self, container_id: &str, ifname: &str) -> Result<PathBuf, LedgerError> {
        validate_container_id(container_id)?;
        validate_ifname(ifname)?;
        Ok(self.dir.join(format!("{container_id}:{ifname}{SUFFIX}")))
    }
}

enum Found {
    Nothing,
    Torn(PathBuf),
    Record(Box<Record>),
}

fn parse_file_name(name: &str) -> Option<Key> {
    let (container_id, ifname) = name.strip_suffix(SUFFIX)?.split_once(':')?;
    Some((container_id.to_owned(), ifname.to_owned()))
}

/// Moves a file that cannot be read to the quarantine and says where it is now.
pub(super) fn quarantine(state_dir: &Path, path: &Path) -> Result<PathBuf, LedgerError> {
    let dir = state_dir.join(QUARANTINE_DIR);
    make_dir(&dir)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let now = SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_millis();
    let to = dir.join(format!("{name}.{now}"));
    fs::rename(path, &to).map_err(LedgerError::io("move to the quarantine", path))?;
    Ok(to)
}

/// How many files are in the quarantine.
pub(super) fn quarantined(state_dir: &Path) -> Result<usize, LedgerError> {
    let dir = state_dir.join(QUARANTINE_DIR);
    match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        entries => Ok(entries.map_err(LedgerError::io("list", &dir))?.count()),
    }
}

fn make_dir(dir: &Path) -> Result<(), LedgerError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(LedgerError::io("create", dir))
}

fn sync_dir(dir: &Path) -> Result<(), LedgerError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(LedgerError::io("sync", dir))
}

/// Cuts off what follows the last line break: the rest of a write that did not end. Returns the length.
fn cut_torn_line(file: &File) -> io::Result<u64> {
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
