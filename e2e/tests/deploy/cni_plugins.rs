//! The component `cni-plugins`: its container, and the script that installs the plugins.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use plexus_e2e::skip;

use crate::containerd::run;
use crate::objects::{check_schema, root};
use crate::rendered::{kubectl, render_with};

/// Runs the script, and returns the names in the plugin directory.
fn install(from: &Path, to: &Path) -> Vec<String> {
    run(Command::new(root("deploy/cni-plugins/install.sh")).args([from, to]));
    let entries = fs::read_dir(to).expect("the directory").flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().into_string().expect("text"))
        .collect();
    names.sort();
    names
}

#[test]
fn missing_plugins_are_installed_and_files_that_exist_are_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
    fs::create_dir(&from).expect("create the directory");
    fs::create_dir(&to).expect("create the directory");
    for name in ["bridge", "host-local", "ptp"] {
        fs::write(from.join(name), format!("ours {name}")).expect("write a plugin");
    }
    fs::write(to.join("host-local"), "of the node").expect("write a plugin");
    // K3s has links, and a link may be replaced while it leads nowhere.
    symlink("multi-call", to.join("ptp")).expect("create a link");
    for _ in 0..2 {
        assert_eq!(
            install(&from, &to),
            ["bridge", "host-local", "ptp"],
            "no temporary file"
        );
        let read = |name: &str| fs::read_to_string(to.join(name)).expect("read");
        assert_eq!(read("bridge"), "ours bridge");
        let mode = fs::metadata(to.join("bridge"))
            .expect("metadata")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o755, "{mode:o}");
        assert_eq!(read("host-local"), "of the node");
        assert_eq!(
            fs::read_link(to.join("ptp")).expect("a link"),
            Path::new("multi-call")
        );
    }
}

#[test]
fn the_container_writes_to_the_plugin_directory_of_the_distribution() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let components =
        ["k3s", "cni-plugins", "monitoring"].map(|name| format!("deploy/components/{name}"));
    let objects = render_with("deploy", &components.each_ref().map(String::as_str), None);
    check_schema(objects.one("DaemonSet"));
    let [container] = &objects.pod_spec()["initContainers"]
        .as_array()
        .expect("a list")[..]
    else {
        panic!("{:#}", objects.pod_spec())
    };
    let mount = &container["volumeMounts"][0];
    assert_eq!(
        mount["mountPath"], "/opt/cni/bin",
        "the default of the script"
    );
    let volume = mount["name"].as_str().expect("a name");
    assert_eq!(objects.host_path(volume), "/var/lib/rancher/k3s/data/cni");
    assert_eq!(
        container["image"],
        concat!("localhost/plexus-cni-plugins:", env!("CARGO_PKG_VERSION"))
    );
}
