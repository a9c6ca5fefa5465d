//! The names of device-info files. Pure.

use std::path::{Path, PathBuf};

const DEVICE_PLUGIN_DIR: &str = "/var/run/k8s.cni.cncf.io/devinfo/dp";
const ATTACHMENT_DIR: &str = "/var/run/k8s.cni.cncf.io/devinfo/cni";
/// The longest name of a file, in bytes.
const MAX_NAME: usize = 255;

/// The file in which a device plugin describes a device (D-001).
pub(super) fn device_plugin_file(resource: &str, device: &str) -> PathBuf {
    let name = format!("{resource}-{device}-device.json").replace('/', "-");
    Path::new(DEVICE_PLUGIN_DIR).join(name)
}

/// The file of an attachment, named as by Multus. Container and interface make the name unique, so a
/// long name of a network is cut (D-002).
pub(crate) fn attachment_file(network: &str, container_id: &str, ifname: &str) -> PathBuf {
    let suffix = format!("-{container_id}_{ifname}");
    let mut name = network.replace('/', "-");
    name.truncate(name.floor_char_boundary(MAX_NAME.saturating_sub(suffix.len())));
    Path::new(ATTACHMENT_DIR).join(name + &suffix)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use plexus_api::rows;

    use super::*;

    #[test]
    fn the_file_of_a_device_plugin_is_named_after_resource_and_device() {
        rows!("D-001");
        let dir = "/var/run/k8s.cni.cncf.io/devinfo/dp";
        for (resource, device, name) in [
            (
                "intel.com/sriov_vf",
                "0000:18:02.5",
                "intel.com-sriov_vf-0000:18:02.5-device.json",
            ),
            ("a/b/c", "d/e", "a-b-c-d-e-device.json"),
        ] {
            assert_eq!(
                device_plugin_file(resource, device),
                Path::new(dir).join(name)
            );
        }
    }

    #[test]
    fn each_attachment_has_a_file_of_its_own() {
        rows!("D-002");
        assert_eq!(
            attachment_file("ns1/mv", "cid1", "net1"),
            Path::new("/var/run/k8s.cni.cncf.io/devinfo/cni/ns1-mv-cid1_net1")
        );
        let long = format!("{}/{}", "n".repeat(63), "d".repeat(253));
        let (id, longest_id) = ("1f".repeat(32), "c".repeat(200));
        let calls = [
            (long.as_str(), id.as_str(), "net1"),
            (&long, &id, "net2"),
            (&long, "other", "net1"),
            (&long, &longest_id, "interface123456"),
            ("ns/a", &id, "net3"),
            (&"é".repeat(200), &id, "net4"),
        ];
        let names: BTreeSet<_> = calls
            .iter()
            .map(|(network, id, ifname)| {
                let path = attachment_file(network, id, ifname);
                assert_eq!(path.parent(), Some(Path::new(ATTACHMENT_DIR)));
                let name = path.file_name().expect("a name").to_owned();
                assert!(name.len() <= 255, "{}", name.len());
                name
            })
            .collect();
        assert_eq!(names.len(), calls.len());
    }
}
