//! VERSION, and the version and usage of the program. They need no daemon.

use std::time::Duration;

use plexus_api::cni::{CallConfig, Version};
use serde::Serialize;

use crate::input;

/// How long VERSION waits for stdin, which is optional for this verb (P-061).
const STDIN_TIMEOUT: Duration = Duration::from_millis(50);

/// The response to VERSION (P-060). The document has the version of the configuration on stdin, if
/// Plexus supports that version (P-062).
pub fn document() -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Versions {
        cni_version: Version,
        supported_versions: [Version; Version::ALL.len()],
    }
    let requested = input::read(STDIN_TIMEOUT)
        .ok()
        .and_then(|stdin| CallConfig::parse(&stdin).ok())
        .and_then(|config| config.object.string("cniVersion").ok().flatten())
        .and_then(|version| version.parse().ok());
    let versions = Versions {
        cni_version: requested.unwrap_or(Version::LATEST),
        supported_versions: Version::ALL,
    };
    // Serializing enum variants cannot fail.
    serde_json::to_string(&versions).unwrap_or_default()
}

/// The name and the version of the program.
pub fn program() -> String {
    format!("plexus {}", plexus_api::version())
}

/// Help for an administrator who runs the shim by hand (P-002).
pub fn usage() -> String {
    format!(
        "{}, a CNI plugin that attaches pods to several networks\nCNI versions: {}\n\
         The container runtime executes this program; CNI_COMMAND is not set.",
        program(),
        Version::list()
    )
}
