//! The disk of the ledger. Without it, ADD fails.

use std::io;
use std::path::Path;

use nix::unistd::{AccessFlags, eaccess};

use super::facts::Facts;
use super::finding::{Finding, Outcome};
use crate::readiness::state_dir::Space;

/// Less than this is soon used up, in bytes.
const LITTLE: u64 = 64 << 20;
/// Less than this number of files is soon used up.
const FEW_FILES: u64 = 1000;

pub(super) fn check(facts: &Facts) -> Outcome {
    let dir = &facts.settings().state_dir;
    let subject = format!("stateDir {}", dir.display());
    // The daemon creates the directory.
    let existing = dir.ancestors().find(|dir| dir.exists());
    let examined = existing.unwrap_or(Path::new("/"));
    let finding = match Space::of(examined) {
        Err(error) => Some(unusable(&subject, &error)),
        Ok(space) => judge(&subject, space).or_else(|| not_writable(&subject, examined)),
    };
    finding.into()
}

fn not_writable(subject: &str, dir: &Path) -> Option<Finding> {
    if !dir.is_dir() {
        return Some(unusable(subject, &io::ErrorKind::NotADirectory.into()));
    }
    let error = eaccess(dir, AccessFlags::W_OK).err()?;
    Some(unusable(subject, &error.into()))
}

fn unusable(subject: &str, error: &io::Error) -> Finding {
    Finding::failed(subject, format!("cannot be written, so ADD fails: {error}"))
        .with_remedy("make it a writable directory")
}

fn judge(subject: &str, space: Space) -> Option<Finding> {
    let Space {
        free_bytes,
        free_files,
        is_read_only,
    } = space;
    if is_read_only {
        let text = "is on a file system that is mounted read-only, so ADD fails";
        return Some(Finding::failed(subject, text).with_remedy("mount it writable"));
    }
    // Some file systems do not limit the number of files.
    let free_files = free_files.unwrap_or(u64::MAX);
    if free_bytes == 0 || free_files == 0 {
        let text = "has no space left, so ADD fails";
        return Some(Finding::failed(subject, text).with_remedy("free space on it"));
    }
    if free_bytes < LITTLE || free_files < FEW_FILES {
        let text = format!("has only {} MiB left", free_bytes >> 20);
        return Some(Finding::warning(subject, text).with_remedy("free space on it"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Level;

    #[test]
    fn a_full_disk_fails_and_a_nearly_full_one_is_a_warning() {
        let space = |free_bytes, free_files, is_read_only| Space {
            free_bytes,
            free_files,
            is_read_only,
        };
        for (space, expected) in [
            (space(1 << 30, Some(5000), false), None),
            (space(1 << 30, None, false), None),
            (space(1 << 30, Some(5000), true), Some(Level::Failed)),
            (space(0, Some(5000), false), Some(Level::Failed)),
            (space(1 << 30, Some(0), false), Some(Level::Failed)),
            (space(1 << 20, None, false), Some(Level::Warning)),
            (space(1 << 30, Some(10), false), Some(Level::Warning)),
        ] {
            let level = judge("stateDir", space).map(|finding| finding.level);
            assert_eq!(level, expected, "{space:?}");
        }
    }
}
