//! Sample configurations that packages install into the runtime's directory, not chosen by an
//! administrator.

use std::path::Path;

/// Prefixes of their file names: samples of podman, CRI-O, containerd's installer and nerdctl.
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

/// Whether the file has the name of a sample. A sample is the default network only if pinned.
pub(crate) fn is_sample(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    SAMPLES
        .iter()
        .any(|sample| name.starts_with(sample.as_bytes()))
}
