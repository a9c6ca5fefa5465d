//! Finds the executable of a plugin.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};
use plexus_api::cni::{CniError, Code, validate_plugin_type};

/// The directories to search: the configured ones, then the runtime's, without duplicates. Relative
/// directories and directories with a `:`, the separator of `CNI_PATH`, are ignored.
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

/// The executable of the plugin `kind`: the first regular file of this name. Follows symbolic links
///
///
/// # Errors
/// [`Code::InvalidConfig`] if `kind` is not a file name, [`Code::PluginMissing`] if no
/// directory has the file or the file is not executable.
pub(super) fn find(kind: &str, dirs: &[PathBuf]) -> Result<PathBuf, CniError> {
    // Configurations are checked when they are read, but a record may have been edited by hand.
    validate_plugin_type(kind)?;
    let missing =
        |problem: String| CniError::new(Code::PluginMissing, format!("plugin {kind:?} {problem}"));
    let file = dirs
        .iter()
        .map(|dir| dir.join(kind))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            let list: Vec<_> = dirs.iter().map(|dir| on_node(dir)).collect();
            missing(if list.is_empty() {
                "cannot be found: the runtime's CNI_PATH has no absolute directory; set binDir"
                    .to_owned()
            } else {
                format!(
                    "is in none of the plugin directories: {}; install it there",
                    list.join(", ")
                )
            })
        })?;
    check_executable(&file).map_err(missing)?;
    Ok(file)
}

/// The path on the node, for messages: `/proc/PID/root/opt/cni/bin` is the directory of the shim as
/// other mount namespaces reach it.
fn on_node(path: &Path) -> String {
    let rest = path.strip_prefix("/proc").ok().and_then(|rest| {
        let mut components = rest.components();
        let pid = components.next()?.as_os_str().to_str()?;
        let is_pid = pid.bytes().all(|byte| byte.is_ascii_digit());
        let is_root = components.next()?.as_os_str() == "root";
        (is_pid && is_root).then(|| Path::new("/").join(components.as_path()))
    });
    rest.as_deref().unwrap_or(path).display().to_string()
}

fn check_executable(file: &Path) -> Result<(), String> {
    eaccess(file, AccessFlags::X_OK).map_err(|errno| {
        format!(
            "is at {} but is not executable ({}); check its mode, and whether its file system is mounted noexec",
            on_node(file),
            errno.desc()
        )
    })
}
