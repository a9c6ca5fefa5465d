//! A log file that is put aside when it is full: `FILE` becomes `FILE.1`, that one `FILE.2`, and so on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use crate::config::LogFile;

/// The file that is written to.
#[derive(Debug)]
pub(super) struct RotatingFile {
    settings: LogFile,
    file: File,
    size: u64,
}

impl RotatingFile {
    /// Opens the file to append to it; makes it, for root alone, where it is missing.
    pub(super) fn open(settings: LogFile) -> io::Result<Self> {
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

    /// Appends a line, to a new file where this one has no room for it.
    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.settings.max_size {
            self.put_aside()?;
        }
        self.file.write_all(line)?;
        self.size += length;
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        for number in (1..=self.backups()).rev() {
            fs::rename(self.backup(number), self.backup(number + 1))?;
        }
        fs::rename(&self.settings.path, self.backup(1))?;
        *self = Self::open(self.settings.clone())?;
        Ok(())
    }

    /// Removes what is too old or too many; the higher the number, the older.
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
            // One that stays is tried again the next time.
            let _ = fs::remove_file(path);
        }
    }

    /// How many files there are that were put aside.
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
