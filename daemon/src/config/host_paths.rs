//! Paths that start with `/host`, where the manifests of Multus mount the host's directories.

use std::path::{Path, PathBuf};

use serde_json::value::to_raw_value;

use super::fields::Fields;

const HOST: &str = "/host";

/// The keys whose value may be such a path.
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

/// Removes `/host` from paths if the host's directory is not mounted there. Returns a warning for
/// each change. `root` is `/` except in tests.
pub fn resolve_host_paths(fields: &mut Fields, root: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for key in KEYS {
        let Ok(Some(path)) = fields.string(key) else {
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
        warnings.push(format!(
            "{key}: nothing is mounted at {path}; using {}",
            stripped.display()
        ));
    }
    warnings
}

/// The path on the host, without the prefix `/host`.
pub fn on_host(path: &Path) -> PathBuf {
    path.strip_prefix(HOST)
        .map_or_else(|_| path.to_owned(), |rest| Path::new("/").join(rest))
}

/// Whether the first directory of `path` is mounted below `/host`. The rest of the path may appear
/// later.
fn is_mounted(path: &Path, root: &Path) -> bool {
    let top = path.components().nth(1);
    top.is_some_and(|top| root.join("host").join(top).is_dir())
}

#[cfg(test)]
mod tests;
