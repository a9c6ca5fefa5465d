//! Removal of our file.

use super::*;

#[test]
fn the_file_is_removed_only_if_the_runtime_has_another() {
    rows!("C-25");
    let mut fixture = Fixture::new();
    fixture.reconcile();
    let reason = fixture.unpublish().expect("no other configuration");
    assert!(reason.contains("contains no other"), "{reason}");
    fixture.write("10-a.conflist", "{");
    let reason = fixture.unpublish().expect("a broken configuration");
    assert!(reason.contains("10-a.conflist"), "{reason}");
    assert!(fixture.path().exists());
    fixture.write("10-a.conflist", &other_config());
    assert_eq!(fixture.unpublish(), None);
    assert!(!fixture.path().exists());
}

#[test]
fn a_sample_is_no_other_configuration() {
    for sample in [
        "87-podman-bridge.conflist",
        "100-crio-bridge.conflist",
        "nerdctl-bridge.conflist",
    ] {
        let mut fixture = Fixture::new();
        fixture.reconcile();
        fixture.write(sample, &other_config());
        let reason = fixture.unpublish().expect("only a sample");
        assert!(
            reason.contains(sample) && reason.contains("sample"),
            "{reason}"
        );
        assert!(fixture.path().exists());
        fixture.write("05-a.conflist", &other_config());
        assert_eq!(fixture.unpublish(), None, "the sample is not loaded");
    }
}

#[test]
fn the_file_of_containerd_is_a_sample_if_its_network_is() {
    let mut fixture = Fixture::new();
    fixture.reconcile();
    let sample = r#"{"cniVersion":"1.0.0","name":"containerd-net","plugins":[{"type":"bridge"}]}"#;
    fixture.write("10-containerd-net.conflist", sample);
    let reason = fixture.unpublish().expect("only a sample");
    assert!(reason.contains("sample"), "{reason}");
    let generated = sample.replace("containerd-net", "k8s-pod-network");
    fixture.write("10-containerd-net.conflist", &generated);
    assert_eq!(fixture.unpublish(), None);
}

#[test]
fn files_of_multus_that_refer_to_ours_are_found() {
    let fixture = {
        let mut fixture = Fixture::new();
        fixture.reconcile();
        fixture
    };
    let ours = fs::read_to_string(fixture.path()).expect("our file");
    // The thick plugin writes the path, the thin plugin a copy.
    let thick = r#"{"cniVersion":"0.3.1","logLevel":"verbose","name":"multus-cni-network",
        "clusterNetwork":"/host/etc/cni/net.d/00-plexus.conflist","type":"multus-shim"}"#;
    let thin = format!(
        r#"{{"cniVersion":"0.3.1","name":"multus-cni-network","type":"multus",
            "kubeconfig":"/etc/cni/net.d/multus.d/multus.kubeconfig","delegates":[{ours}]}}"#
    );
    let calico = thick.replace("00-plexus", "10-calico");
    for (name, text) in [
        ("00-multus.conf", thick),
        ("00-thin.conf", &thin),
        ("00-other.conf", &calico),
        ("10-a.conflist", &other_config()),
    ] {
        fixture.write(name, text);
    }
    assert_eq!(
        fixture.file.referring_files(),
        ["00-multus.conf", "00-thin.conf"].map(|name| fixture.at(name))
    );
    assert_eq!(fixture.unpublish(), None, "Multus is another configuration");
}

#[test]
fn the_file_is_removed_with_its_copies_and_can_be_removed_again() {
    rows!("C-25");
    let mut fixture = Fixture::new();
    let copies = [".00-plexus.conflist.tmp", "00-plexus.conflist.cilium_bak"];
    fixture.write("10-a.conflist", &other_config());
    fs::create_dir(fixture.at("00-a.conf")).expect("a directory");
    // Copies may exist before and after our write, which removes the temporary file.
    for copy in copies {
        fixture.write(copy, &other_config());
    }
    fixture.reconcile();
    for copy in copies {
        fixture.write(copy, &other_config());
    }
    assert_eq!(fixture.unpublish(), None);
    let mut left: Vec<_> = fs::read_dir(fixture.dir.path())
        .expect("directory")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["00-a.conf", "10-a.conflist"]);
    // A second uninstall needs no other configuration.
    fs::remove_file(fixture.at("10-a.conflist")).expect("file");
    assert_eq!(fixture.unpublish(), None);
}
