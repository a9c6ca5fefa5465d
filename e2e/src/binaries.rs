//! The locations of the programs and recordings that tests use.

use std::path::{Path, PathBuf};

/// The directories in which distributions and Kubernetes install the reference plugins.
const PLUGIN_DIRS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// The path of a binary of this workspace: in `PLEXUS_BIN_DIR` if it exists there (`make bench`
/// sets this to the release build), else beside the running program. Cargo does not build binaries
/// of other crates for a test; run `cargo build --workspace --bins` first.
pub fn binary(name: &str) -> PathBuf {
    let release = std::env::var_os("PLEXUS_BIN_DIR").map(|dir| PathBuf::from(dir).join(name));
    if let Some(path) = release.and_then(|path| path.canonicalize().ok()) {
        return path;
    }
    let path = profile_dir().join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

/// Cargo's target directory.
pub fn target_dir() -> PathBuf {
    profile_dir()
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// The directory that has all of `plugins`: `CNI_BIN_DIR` if that is set, else the first of the
/// usual directories.
///
/// # Errors
/// One line that names the missing plugin.
pub fn plugin_dir(plugins: &[&str]) -> Result<PathBuf, String> {
    let own = std::env::var_os("CNI_BIN_DIR").map(PathBuf::from);
    let dirs = own.map_or_else(|| PLUGIN_DIRS.map(PathBuf::from).to_vec(), |dir| vec![dir]);
    let missing_in = |dir: &Path| plugins.iter().find(|plugin| !dir.join(plugin).exists());
    if let Some(dir) = dirs.iter().find(|dir| missing_in(dir).is_none()) {
        return Ok(dir.clone());
    }
    let dir = &dirs[0];
    let missing = missing_in(dir).unwrap_or(&"");
    Err(format!(
        "the CNI plugin {missing} is not in {} (Debian package containernetworking-plugins)",
        dir.display()
    ))
}

/// The directory of recordings of Multus and of container runtimes: `PLEXUS_VECTORS`, else
/// `../shared/vectors` beside the repository. Recordings are not part of the repository; tests
/// without them are skipped.
///
/// # Errors
/// One line that names the missing directory.
pub fn vectors() -> Result<PathBuf, String> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors");
    let dir = std::env::var_os("PLEXUS_VECTORS").map_or_else(|| default.into(), PathBuf::from);
    if dir.is_dir() {
        Ok(dir)
    } else {
        Err(format!(
            "no recordings in {} (PLEXUS_VECTORS)",
            dir.display()
        ))
    }
}

/// The directory of the build profile: that of the running program, or its parent for a test.
fn profile_dir() -> PathBuf {
    let program = std::env::current_exe().expect("path of the program");
    let dir = program.parent().expect("a directory");
    if dir.ends_with("deps") {
        dir.parent().expect("a directory").to_owned()
    } else {
        dir.to_owned()
    }
}
