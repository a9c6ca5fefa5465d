//! Where the programs are that a test executes, and the recordings that it plays.

use std::path::{Path, PathBuf};

/// The directories in which distributions and Kubernetes put the reference plugins.
const PLUGIN_DIRS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// A binary of this workspace: out of `PLEXUS_BIN_DIR` where it is there, as `make bench` has it for the programs that
/// ship, else beside the running one. Cargo does not build the binaries of other crates for a test:
/// `cargo build --workspace --bins` does.
pub fn binary(name: &str) -> PathBuf {
    let shipped = std::env::var_os("PLEXUS_BIN_DIR").map(|dir| PathBuf::from(dir).join(name));
    if let Some(path) = shipped.and_then(|path| path.canonicalize().ok()) {
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

/// The directory that has all of `plugins`: that of `CNI_BIN_DIR` alone where it is set, else the first of those where
/// they are usually installed.
///
/// # Errors
/// One line that says which is missing and what to do.
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
        "the CNI plugin {missing} is not in {} (Debian's package containernetworking-plugins)",
        dir.display()
    ))
}

/// The directory of recordings of Multus and of container runtimes: `PLEXUS_VECTORS`, else `../shared/vectors` beside
/// the checkout. They are not part of this repository; a test without them is skipped.
///
/// # Errors
/// One line that says where they were looked for.
pub fn vectors() -> Result<PathBuf, String> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors");
    let dir =
        std::env::var_os("PLEXUS_VECTORS").map_or_else(|| PathBuf::from(beside), PathBuf::from);
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
    let program = std::env::current_exe().expect("a running program has a path");
    let dir = program.parent().expect("a program is in a directory");
    if dir.ends_with("deps") {
        dir.parent().expect("deps is in a directory").to_owned()
    } else {
        dir.to_owned()
    }
}
