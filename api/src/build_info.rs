//! The build that a program comes from.

use std::env::consts::{ARCH, OS};

/// The version of Plexus, its commit and its target: `0.1.0 (commit 1a2b3c4d5e6f, x86_64-linux)`. A
/// build without the variable `PLEXUS_COMMIT`, which `make build` sets, has no commit.
pub fn version() -> String {
    describe(option_env!("PLEXUS_COMMIT").unwrap_or_default())
}

fn describe(commit: &str) -> String {
    let commit = match commit {
        "" => String::new(),
        commit => format!("commit {commit}, "),
    };
    format!("{} ({commit}{ARCH}-{OS})", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_outside_of_git_has_no_commit() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(describe(""), format!("{version} ({ARCH}-linux)"));
        assert_eq!(
            describe("1a2b3c-dirty"),
            format!("{version} (commit 1a2b3c-dirty, {ARCH}-linux)")
        );
    }
}
