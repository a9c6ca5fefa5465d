//! Sample configurations that packages install into the runtime's directory, not chosen by an
//! administrator.

use std::path::Path;

/// Prefixes of their file names: samples of podman, CRI-O, containerd's installer and nerdctl.
const SAMPLES: [&str; 7] = [
    "87-podman",
    "10-crio-bridge",
    "100-crio-bridge",
    "11-crio-ipv4-bridge",
    "99-loopback",
    "200-loopback",
    "nerdctl-",
];

/// The file and the network of containerd's sample. With `conf_template`, as on GKE, containerd
/// writes the network of the pods to a file of the same name.
const CONTAINERD: (&str, &str) = ("10-containerd-net", "containerd-net");

/// Whether the file is a sample. `network` is the name of the network in the file, if that can be
/// read. A sample is the default network only if pinned.
pub(crate) fn is_sample(path: &Path, network: Option<&str>) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let is = |sample: &str| name.starts_with(sample.as_bytes());
    let (file, sample) = CONTAINERD;
    SAMPLES.into_iter().any(is) || (is(file) && network == Some(sample))
}
