//! Paths that begin with `/host`: in the manifests of Multus the host's directories are mounted there.

use std::path::{Path, PathBuf};

use serde_json::value::to_raw_value;

use super::Fields;

/// Where Multus' manifests mount the host's directories.
const HOST: &str = "/host";

/// The keys that may have such a path.
const KEYS: [&str; 11] = [
    "binDir",
    "clusterNetwork",
    "cniConfigDir",
    "cniDir",
    "confDir",
    "daemonSocketDir",
    "multusAutoconfigDir",
    "readinessindicatorfile",
    "shimDir",
    "socketDir",
    "stateDir",
];

/// Takes `/host` from the paths whose directory of the host is not mounted there, and says so, a line each. `root` is
/// `/` but in tests.
pub fn resolve_host_paths(fields: &mut Fields, root: &Path) -> Vec<String> {
    let mut notices = Vec::new();
    for key in KEYS {
        let Ok(Some(path)) = fields.text(key) else {
            continue;
        };
        let stripped = on_host(Path::new(&path));
        if stripped == Path::new(&path) || is_mounted(&stripped, root) {
            continue;
        }
        let Ok(value) = to_raw_value(&stripped) else {
            continue;
        };
        fields.set(key, value);
        notices.push(format!(
            "{key}: nothing is mounted at {path}, {} is used",
            stripped.display()
        ));
    }
    notices
}

/// The path as the host knows it.
pub fn on_host(path: &Path) -> PathBuf {
    path.strip_prefix(HOST)
        .map_or_else(|_| path.to_owned(), |rest| Path::new("/").join(rest))
}

/// Whether the host's top directory of `path` is below `/host`. The rest may appear later.
fn is_mounted(path: &Path, root: &Path) -> bool {
    let top = path.components().nth(1);
    top.is_some_and(|top| root.join("host").join(top).is_dir())
}

#[cfg(test)]
mod tests;
