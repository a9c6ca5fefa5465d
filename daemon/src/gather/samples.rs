//! Network configurations that packages leave in the runtime's directory as an example. Nobody chose them for pods.

use std::path::Path;

/// How their file names begin: podman's, CRI-O's bridges and loopbacks, the one of containerd's install script, nerdctl's.
const SAMPLES: [&str; 8] = [
    "87-podman",
    "10-crio-bridge",
    "100-crio-bridge",
    "11-crio-ipv4-bridge",
    "99-loopback",
    "200-loopback",
    "10-containerd-net",
    "nerdctl-",
];

/// Whether this file is one, by its name. Only a pin makes it the default network.
pub(super) fn is_sample(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    SAMPLES
        .iter()
        .any(|sample| name.starts_with(sample.as_bytes()))
}
