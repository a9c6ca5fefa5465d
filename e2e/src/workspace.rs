//! The files of the repository, for tests that compare sources and documents.

use std::fs;
use std::path::Path;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in the workspace")
}

/// The text of a file, by its path from the root.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files under `dirs` with one of these extensions, as sorted paths from the root.
pub fn files(dirs: &[&str], extensions: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs: Vec<_> = dirs.iter().map(|dir| root().join(dir)).collect();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir)
            .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
            .flatten()
        {
            let path = entry.path();
            let extension = path
                .extension()
                .and_then(|extension| extension.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                dirs.push(path);
            } else if extensions.contains(&extension) {
                let path = path.strip_prefix(root()).expect("the file is under root");
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}
