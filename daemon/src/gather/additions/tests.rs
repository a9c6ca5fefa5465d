use plexus_api::cni::{Defaults, NetworkConfig, Version};

use super::*;

/// An attachment with a device of the resource `x/vf`.
fn attached(device: &str) -> Attachment {
    let defaults = Defaults {
        name: Some("n"),
        version: Version::V1_0_0,
    };
    let config = NetworkConfig::parse(r#"{"type":"x"}"#, defaults).expect("a configuration");
    Attachment {
        resource_name: Some("x/vf".to_owned()),
        device_id: Some(device.to_owned()),
        ..Attachment::new("ns/n", "net1", config)
    }
}

fn share(id: &str, share: &str) -> PodDevice {
    PodDevice {
        share: Some(share.to_owned()),
        ..PodDevice::whole(id)
    }
}

#[test]
fn each_attachment_has_a_device_or_one_share_of_a_device() {
    let all = [
        PodDevice::whole("vf"),
        share("nic", "s1"),
        share("nic", "s2"),
    ];
    let devices = Devices::from([("x/vf".to_owned(), Allocation::Devices(all.into()))]);
    let rest = |attached: &[&Attachment]| unused(&devices, attached)["x/vf"].clone();
    let [vf, nic] = ["vf", "nic"].map(attached);
    assert_eq!(rest(&[]), devices["x/vf"]);
    let left = Allocation::Devices([share("nic", "s2")].into());
    assert_eq!(rest(&[&vf, &nic]), left);
    let in_use = Allocation::InUse(
        [
            PodDevice::whole("vf"),
            share("nic", "s1"),
            share("nic", "s2"),
        ]
        .into(),
    );
    assert_eq!(rest(&[&vf, &nic, &nic]), in_use);
}
