use plexus_api::cni::{CniError, Code};

use super::*;

const NETNS: &str = "/run/netns/cni-1";

fn failed(msg: &str) -> PluginError {
    PluginError::Failed(CniError::new(Code::PluginFailed, msg))
}

#[test]
fn errors_of_public_plugins_for_a_missing_interface_mean_gone() {
    for msg in [
        // containernetworking/plugins: macvlan and ipvlan, host-device, tuning, bandwidth.
        "Link not found",
        "link not found",
        r#"failed to find "net1": Link not found"#,
        r#"failed to lookup master "eth7": Link not found"#,
        "failed to get link: Link with name net1 not found",
        r#"Link "net1" not found"#,
        "could not get the link: no such device",
        "route ip+net: no such network interface",
        "failed to delete: no such device or address",
        // sriov-cni.
        r#"cmdDel() error reseting VF: "failed to lookup master \"ens1f0\": Link not found""#,
        r#"failed to get netlink device with name net1: "Link not found""#,
        // Shell plugins that run `ip`.
        r#"failed with exit status 1: Cannot find device "net1""#,
        r#"Device "net1" does not exist."#,
        // A namespace that was removed.
        r#"failed to open netns "/run/netns/cni-1": failed to Statfs "/run/netns/cni-1": no such file or directory"#,
        r#"failed to open netns "/run/netns/cni-1": unknown FS magic on "/run/netns/cni-1": 1021994"#,
    ] {
        assert!(is_gone(&failed(msg), Some(NETNS)), "{msg}");
    }
    let unknown = CniError::new(Code::UnknownContainer, "who?");
    assert!(is_gone(&PluginError::UnknownContainer(unknown), None));
}

#[test]
fn other_errors_do_not_mean_gone() {
    for msg in [
        "lease not found: No such file or directory",
        "ippool default/lan not found",
        "error dialing DHCP daemon: dial unix /run/cni/dhcp.sock: connect: no such file or directory",
        r#"failed to find plugin "whereabouts" in path [/opt/cni/bin]"#,
        "the link is down; the file was not found",
        "link down: lease not found",
        "link: lease not found",
        "with the link",
        "json: cannot unmarshal string into Go struct field NetConf.mtu of type int",
        "was killed: it took longer than 5.0s",
        r#"failed to open netns "/run/netns/other": no such file or directory"#,
        "",
    ] {
        assert!(!is_gone(&failed(msg), Some(NETNS)), "{msg}");
        assert!(!is_gone(&failed(msg), Some("")), "{msg}");
        assert!(!is_gone(&failed(msg), None), "{msg}");
    }
    let missing = CniError::new(
        Code::PluginMissing,
        "plugin \"a\" is missing: no such device",
    );
    assert!(!is_gone(&PluginError::NotStarted(missing), None));
}
