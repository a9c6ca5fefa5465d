//! What answers without a daemon: the versions.

use std::time::Duration;

use plexus_api::cni::Version;
use serde::Serialize;

use crate::config::Config;
use crate::input;

/// How long VERSION waits for stdin, which the specification lets it read but not need (P-061).
const STDIN_DEADLINE: Duration = Duration::from_millis(50);

/// The answer to VERSION (P-060). It echoes the version of stdin where that is one we speak (P-062).
pub fn document() -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Versions {
        cni_version: Version,
        supported_versions: [Version; Version::ALL.len()],
    }
    let stdin = input::read(STDIN_DEADLINE).unwrap_or_default();
    let asked = Config::parse(&stdin)
        .and_then(|config| config.text("cniVersion"))
        .ok()
        .flatten();
    let cni_version = asked
        .and_then(|asked| Version::exact(&asked))
        .unwrap_or(Version::LATEST);
    let versions = Versions {
        cni_version,
        supported_versions: Version::ALL,
    };
    // Only names of enum variants: serialising cannot fail.
    serde_json::to_string(&versions).unwrap_or_default()
}

/// The program and its version.
pub fn line() -> String {
    format!("plexus {}", env!("CARGO_PKG_VERSION"))
}

/// What an administrator sees who runs the binary by hand (P-002).
pub fn about() -> String {
    let versions = Version::ALL.map(Version::as_str).join(", ");
    format!(
        "{}, a CNI plugin that attaches pods to several networks\nCNI versions: {versions}\n\
         The container runtime executes it; CNI_COMMAND is not set.",
        line()
    )
}
