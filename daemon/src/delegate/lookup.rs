//! Where a plugin is.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};
use plexus_api::cni::{CniError, Code, validate_plugin_type};

/// The directories to search: the configured ones, then the runtime's. Only absolute ones count, each once, and none
/// with a `:`, which would be two in `CNI_PATH`.
pub(super) fn search_path(bin_dirs: &[PathBuf], runtime: &[PathBuf]) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = Vec::new();
    for dir in bin_dirs.iter().chain(runtime) {
        if dir.is_absolute()
            && !dir.as_os_str().as_encoded_bytes().contains(&b':')
            && !dirs.contains(dir)
        {
            dirs.push(dir.clone());
        }
    }
    dirs
}

/// The executable of the plugin `kind`: the first regular file of that name, symbolic links followed.
///
/// # Errors
/// [`Code::InvalidConfig`] where `kind` is no file name, [`Code::PluginMissing`] where no directory has it or
/// it cannot be executed.
pub(super) fn find(kind: &str, dirs: &[PathBuf]) -> Result<PathBuf, CniError> {
    // Checked when the configuration was read; a record that was edited by hand comes here without.
    validate_plugin_type(kind)?;
    let missing =
        |why: String| CniError::new(Code::PluginMissing, format!("plugin {kind:?} {why}"));
    let found = dirs
        .iter()
        .map(|dir| dir.join(kind))
        .find(|file| file.is_file());
    let file = found.ok_or_else(|| {
        let list: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        missing(format!(
            "is in none of the plugin directories: {}; install it there",
            list.join(", ")
        ))
    })?;
    check_executable(&file).map_err(missing)?;
    Ok(file)
}

fn check_executable(file: &Path) -> Result<(), String> {
    eaccess(file, AccessFlags::X_OK).map_err(|errno| {
        format!(
            "is at {} but may not be executed ({}); check its mode",
            file.display(),
            errno.desc()
        )
    })
}
