//! The files of a release that need no build.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use plexus_e2e::skip;
use plexus_e2e::workspace::{files, read};

use crate::containerd::run;
use crate::objects::{Objects, documents, root};
use crate::rendered::{kubectl, render};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes the files to `dir`, and returns them by their name.
fn release(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let release = format!("RELEASE={}", dir.display());
    run(Command::new("make")
        .current_dir(root(""))
        .args(["--silent", "release-files", &release]));
    let entries = fs::read_dir(dir).expect("the directory").flatten();
    let entry = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().expect("text");
        (name, fs::read(entry.path()).expect("read the file"))
    };
    entries.map(entry).collect()
}

#[test]
fn a_release_has_manifests_the_chart_and_checksums() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let release = release(&dir.path().join("release"));
    let chart = format!("plexus-{VERSION}.tgz");
    let manifests = format!("plexus-manifests-{VERSION}.tgz");
    let expected = [
        "CHANGES.md",
        "SHA256SUMS",
        "first.yaml",
        "install.yaml",
        "kubectl-plexus",
        chart.as_str(),
        manifests.as_str(),
        "uninstall.yaml",
    ];
    assert_eq!(release.keys().collect::<Vec<_>>(), expected);

    let text = |name: &str| String::from_utf8(release[name].clone()).expect("text");
    run(Command::new("tar")
        .arg("-xzf")
        .arg(dir.path().join("release").join(manifests.as_str()))
        .arg("--directory")
        .arg(dir.path()));
    let unpacked = dir.path().join(manifests.trim_end_matches(".tgz"));
    for (name, kustomization) in [
        ("install.yaml", "deploy"),
        ("uninstall.yaml", "deploy/uninstall"),
    ] {
        let objects = Objects(documents(&text(name)));
        assert_eq!(objects.0, render(&root(kustomization)).0);
        assert_eq!(objects.0, render(&unpacked.join(kustomization)).0);
    }
    for page in ["README.md", "docs/installation.md", "docs/alerts.md"] {
        let page_in_release = fs::read_to_string(unpacked.join(page)).expect("read the page");
        assert_eq!(page_in_release, read(page));
    }
    let changes = text("CHANGES.md");
    assert!(
        changes.starts_with("## ") && changes.contains("Helm chart"),
        "{changes}"
    );
    assert_eq!(changes.matches("\n## ").count(), 0, "one section");

    let dir = dir.path().join("release");
    let check = run(Command::new("sha256sum")
        .args(["--check", "SHA256SUMS"])
        .current_dir(&dir));
    assert_eq!(check.lines().count(), expected.len() - 1, "{check}");
    let listed = run(Command::new("tar").arg("-tzf").arg(dir.join(&chart)));
    let mut listed: Vec<_> = listed.lines().filter(|line| !line.ends_with('/')).collect();
    listed.sort_unstable();
    let packed = files(&["deploy/helm"], &["yaml", "json", "tpl", "txt"]);
    let packed: Vec<_> = packed
        .iter()
        .map(|path| path.replace("deploy/helm/", ""))
        .collect();
    assert_eq!(listed, packed);
    assert!(read("deploy/helm/plexus/Chart.yaml").contains(VERSION));
}

#[test]
fn a_release_is_reproducible() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let [first, second] = ["first", "second"].map(|name| release(&dir.path().join(name)));
    assert!(first == second, "two runs give other bytes");
    // Nor do the times and the owner of a checkout change the bytes.
    for archive in ["plexus", "plexus-manifests"] {
        let archive = dir.path().join(format!("first/{archive}-{VERSION}.tgz"));
        let listed = run(Command::new("tar")
            .args(["--utc", "--numeric-owner", "-tvzf"])
            .arg(archive));
        for line in listed.lines() {
            assert!(
                line.contains(" 0/0 ") && line.contains(" 1970-01-01 00:00 "),
                "{line}"
            );
        }
    }
}

#[test]
fn the_bill_of_materials_lists_the_crates_of_the_programs() {
    let targets = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];
    let sbom = || {
        let mut command = Command::new(root("deploy/sbom.sh"));
        command.args([VERSION, "0123456", "2026-01-01T00:00:00Z"]);
        run(command.args(targets).current_dir(root("")))
    };
    let text = sbom();
    assert_eq!(text, sbom(), "two runs give other documents");
    for line in [
        "SPDXVersion: SPDX-2.3".to_owned(),
        format!("Relationship: SPDXRef-DOCUMENT DESCRIBES SPDXRef-plexus-{VERSION}"),
        format!("Relationship: SPDXRef-DOCUMENT DESCRIBES SPDXRef-plexusd-{VERSION}"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
    let values = |tag: &str| -> Vec<String> {
        let tag = format!("{tag}: ");
        let values = text.lines().filter_map(|line| line.strip_prefix(&tag));
        values.map(str::to_owned).collect()
    };
    let names = values("PackageName");
    for (name, expected) in [("tokio", true), ("ring", true), ("tempfile", false)] {
        assert_eq!(names.iter().any(|found| found == name), expected, "{name}");
    }
    let lock = read("Cargo.lock");
    for checksum in values("PackageChecksum") {
        let (kind, checksum) = checksum.split_once(": ").expect("a checksum");
        assert_eq!(kind, "SHA256");
        assert!(lock.contains(checksum), "{checksum}");
    }
    let own = names
        .iter()
        .filter(|name| name.starts_with("plexus"))
        .count();
    assert_eq!(values("PackageChecksum").len(), names.len() - own);
    assert!(!values("PackageLicenseDeclared").contains(&"NOASSERTION".to_owned()));
}
