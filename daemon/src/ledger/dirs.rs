//! The directories of the ledger, accessible to their owner only.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::LedgerError;
use crate::durable::sync_dir;

/// Creates a directory and its parents with mode 0700. A directory that exists keeps its mode.
pub(super) fn create(dir: &Path) -> Result<(), LedgerError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(LedgerError::io("create", dir))
}

/// Makes the entries of a directory durable.
pub(super) fn sync(dir: &Path) -> Result<(), LedgerError> {
    sync_dir(dir).map_err(LedgerError::io("sync", dir))
}
