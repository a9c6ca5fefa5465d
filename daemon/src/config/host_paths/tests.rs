use std::fs;
use std::path::Path;

use super::{on_host, resolve_host_paths};
use crate::config::Fields;

#[test]
fn a_path_of_the_host_is_used_as_it_is_where_the_host_is_mounted_there() {
    let root = tempfile::tempdir().expect("directory");
    fs::create_dir_all(root.path().join("host/etc")).expect("a mount");
    let text = r#"{"SocketDir":"/host/run/multus/","cniConfigDir":"/host/etc/cni/net.d","confDir":"/etc/x",
        "clusterNetwork":"/host/opt/a.conf","logFile":"/host/var/log/x","binDir":7}"#;
    let mut fields = Fields::parse(text).expect("object");
    let notices = resolve_host_paths(&mut fields, root.path());
    let text = |key: &str| fields.text(key).expect("a text").unwrap_or_default();
    assert_eq!(text("socketDir"), "/run/multus");
    assert_eq!(text("clusterNetwork"), "/opt/a.conf");
    assert_eq!(
        text("cniConfigDir"),
        "/host/etc/cni/net.d",
        "the rest of it may appear later"
    );
    assert_eq!(text("confDir"), "/etc/x");
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert!(
        notices
            .iter()
            .any(|notice| notice.contains("socketDir") && notice.contains("/run/multus is used"))
    );
    fields.text("binDir").expect_err("a wrong value stays one");
}

#[test]
fn the_host_knows_its_paths_without_the_prefix() {
    for (path, expected) in [
        ("/host/run/x", "/run/x"),
        ("/run/x", "/run/x"),
        ("/hostile/x", "/hostile/x"),
        ("/host", "/"),
    ] {
        assert_eq!(on_host(Path::new(path)), Path::new(expected));
    }
}
