use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::sys::stat::Mode as NixMode;
use nix::unistd::mkfifo;
use plexus_api::rows;
use tempfile::TempDir;

use super::*;

const DOCUMENT: &str = r#"{"type":"pci","version":"1.0.0","pci":{"pci-address":"0000:18:02.5"}}"#;

/// Creates something at a path.
type Create = Box<dyn Fn(&Path)>;

/// The directory `devinfo`, which does not exist yet, and the two files of an attachment in it.
fn devinfo() -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let devinfo = dir.path().join("k8s/devinfo");
    (dir, devinfo.join("cni/file"), devinfo.join("dp/source"))
}

fn mode(path: &Path) -> u32 {
    let metadata = fs::symlink_metadata(path).expect("metadata");
    metadata.permissions().mode() & 0o777
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("create the directory");
    fs::write(path, content).expect("write");
}

#[test]
fn the_directory_is_created_and_the_document_is_copied() {
    rows!("D-003", "D-004");
    let (_dir, file, source) = devinfo();
    prepare(&file, Some(&source)).expect("no source");
    assert_eq!(mode(file.parent().expect("a directory")), 0o755);
    assert!(!file.exists());
    write(&source, DOCUMENT);
    write(&file, "an earlier file");
    prepare(&file, Some(&source)).expect("copied");
    assert_eq!(fs::read_to_string(&file).expect("read"), DOCUMENT);
    assert_eq!(mode(&file), 0o644);
    let read = read(&file).expect("valid").expect("a document");
    assert_eq!(read.get(), DOCUMENT);
    // A file of an earlier attachment is not this attachment's.
    prepare(&file, None).expect("no source");
    assert!(!file.exists());
}

#[test]
fn only_regular_files_with_a_document_of_limited_size_are_used() {
    rows!("D-005", "D-017");
    let (dir, file, source) = devinfo();
    let secret = dir.path().join("secret");
    write(&secret, DOCUMENT);
    let unusable: [(&str, Create, &str); 6] = [
        ("malformed", Box::new(|path| write(path, "{")), "EOF"),
        (
            "large",
            Box::new(|path| write(path, vec![b' '; 1 << 20])),
            "65536 bytes",
        ),
        (
            "link",
            Box::new(move |path| symlink(&secret, path).expect("a link")),
            "symbolic link",
        ),
        (
            "directory",
            Box::new(|path| fs::create_dir(path).expect("a directory")),
            "not a regular file",
        ),
        (
            "fifo",
            Box::new(|path| mkfifo(path, NixMode::S_IRWXU).expect("a FIFO")),
            "not a regular file",
        ),
        (
            "socket",
            Box::new(|path| drop(UnixListener::bind(path).expect("a socket"))),
            "",
        ),
    ];
    for (name, create, expected) in unusable {
        for path in [&source, &file] {
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            create(path);
        }
        for error in [
            read(&file).expect_err(name).to_string(),
            read(&source).expect_err(name).to_string(),
        ] {
            assert!(error.contains(expected), "{name}: {error}");
        }
        if name == "directory" {
            fs::remove_dir(&file).expect("remove");
        }
        let error = prepare(&file, Some(&source)).expect_err(name).to_string();
        assert!(error.contains(&source.display().to_string()), "{error}");
        assert!(fs::symlink_metadata(&file).is_err(), "{name} is copied");
        let _ = fs::remove_file(&source).or_else(|_| fs::remove_dir(&source));
    }
}

#[test]
fn a_link_in_place_of_the_directory_is_not_followed() {
    rows!("D-017");
    let (dir, file, source) = devinfo();
    let elsewhere = dir.path().join("elsewhere");
    for name in ["file", "source"] {
        write(&elsewhere.join(name), DOCUMENT);
    }
    fs::create_dir_all(dir.path().join("k8s/devinfo")).expect("create the directory");
    for path in [&file, &source] {
        symlink(&elsewhere, path.parent().expect("a directory")).expect("a link");
        read(path).expect_err("a link");
    }
    prepare(&file, None).expect_err("a link");
    remove(&file).expect("the file of another directory is not ours");
    assert_eq!(fs::read_dir(&elsewhere).expect("list").count(), 2);
}

#[test]
fn a_link_above_the_directories_is_followed() {
    rows!("D-019");
    let (dir, _, _) = devinfo();
    fs::create_dir(dir.path().join("run")).expect("create the directory");
    symlink("run", dir.path().join("var-run")).expect("a link");
    let path = |root: &str| dir.path().join(root).join("k8s/devinfo/cni/file");
    prepare(&path("var-run"), None).expect("created");
    write(&path("run"), DOCUMENT);
    assert!(read(&path("var-run")).expect("valid").is_some());
}

#[test]
fn a_file_is_removed_whatever_the_file_is() {
    rows!("D-009");
    let (dir, file, source) = devinfo();
    remove(&file).expect("no directory");
    write(&source, DOCUMENT);
    write(&file, "{");
    remove(&file).expect("removed");
    remove(&file).expect("already removed");
    let target = dir.path().join("target");
    write(&target, "kept");
    symlink(&target, &file).expect("a link");
    remove(&file).expect("removed");
    assert!(fs::symlink_metadata(&file).is_err());
    assert!(target.exists() && source.exists());
}
