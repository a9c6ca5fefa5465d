//! Log file rotation: a full `FILE` becomes `FILE.1`, `FILE.1` becomes `FILE.2`, and so on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use crate::config::LogFile;

#[derive(Debug)]
pub(super) struct RotatingFile {
    settings: LogFile,
    file: File,
    size: u64,
}

impl RotatingFile {
    /// Opens the file for appending. Creates a missing directory, and a missing file, readable by
    /// root only.
    pub(super) fn open(settings: LogFile) -> io::Result<Self> {
        if let Some(dir) = settings.path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&settings.path)?;
        let size = file.metadata()?.len();
        let opened = Self {
            settings,
            file,
            size,
        };
        opened.prune();
        Ok(opened)
    }

    /// Appends a line, after a rotation if the file would become too large.
    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.settings.max_size {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.size += length;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..=self.backups()).rev() {
            fs::rename(self.backup(number), self.backup(number + 1))?;
        }
        fs::rename(&self.settings.path, self.backup(1))?;
        *self = Self::open(self.settings.clone())?;
        Ok(())
    }

    /// Removes backups that are too old or too many. A higher number is older.
    fn prune(&self) {
        for number in (1..=self.backups()).rev() {
            let path = self.backup(number);
            let modified = fs::metadata(&path).and_then(|meta| meta.modified());
            let age = modified
                .ok()
                .and_then(|time| time.elapsed().ok())
                .unwrap_or_default();
            if number <= self.settings.max_backups && age <= self.settings.max_age {
                break;
            }
            // The next rotation retries a failed removal.
            let _ = fs::remove_file(path);
        }
    }

    /// The number of backups.
    fn backups(&self) -> usize {
        (1..usize::MAX)
            .take_while(|number| self.backup(*number).exists())
            .count()
    }

    fn backup(&self, number: usize) -> PathBuf {
        let mut name = self.settings.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

#[cfg(test)]
mod tests;
