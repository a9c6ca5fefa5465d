use std::fs;
use std::path::Path;

use super::{on_host, resolve_host_paths};
use crate::config::Fields;

#[test]
fn the_prefix_is_removed_unless_the_host_is_mounted_there() {
    let root = tempfile::tempdir().expect("directory");
    fs::create_dir_all(root.path().join("host/etc")).expect("a mount");
    let text = r#"{"SocketDir":"/host/run/multus/","cniConfigDir":"/host/etc/cni/net.d","confDir":"/etc/x",
        "clusterNetwork":"/host/opt/a.conf","logFile":"/host/var/log/x","binDir":7}"#;
    let mut fields = Fields::parse(text).expect("object");
    let warnings = resolve_host_paths(&mut fields, root.path());
    let text = |key: &str| fields.string(key).expect("a text").unwrap_or_default();
    assert_eq!(text("socketDir"), "/run/multus");
    assert_eq!(text("clusterNetwork"), "/opt/a.conf");
    assert_eq!(
        text("cniConfigDir"),
        "/host/etc/cni/net.d",
        "the rest of the path may appear later"
    );
    assert_eq!(text("confDir"), "/etc/x");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("socketDir") && warning.contains("using /run/multus"))
    );
    fields
        .string("binDir")
        .expect_err("an invalid value stays as it is");
}

#[test]
fn paths_on_the_host_have_no_prefix() {
    for (path, expected) in [
        ("/host/run/x", "/run/x"),
        ("/run/x", "/run/x"),
        ("/hostile/x", "/hostile/x"),
        ("/host", "/"),
    ] {
        assert_eq!(on_host(Path::new(path)), Path::new(expected));
    }
}
