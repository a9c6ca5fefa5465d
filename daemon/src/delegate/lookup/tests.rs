use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn program(dir: &Path, name: &str, mode: u32) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, "#!/bin/sh\n").expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
    path
}

#[test]
fn the_first_regular_file_wins() {
    plexus_api::rows!("R-040");
    let (first_dir, second_dir) = (
        tempfile::tempdir().expect("dir"),
        tempfile::tempdir().expect("dir"),
    );
    let dirs = [first_dir.path().to_owned(), second_dir.path().to_owned()];
    let first = program(first_dir.path(), "both", 0o755);
    program(second_dir.path(), "both", 0o755);
    assert_eq!(find("both", &dirs), Ok(first.clone()));

    fs::create_dir(first_dir.path().join("dir")).expect("mkdir");
    let file = program(second_dir.path(), "dir", 0o755);
    assert_eq!(
        find("dir", &dirs),
        Ok(file),
        "a directory of this name is skipped"
    );

    symlink(&first, second_dir.path().join("link")).expect("symlink");
    assert_eq!(
        find("link", &dirs),
        Ok(second_dir.path().join("link")),
        "symbolic links are followed"
    );
    symlink("nowhere", second_dir.path().join("dangling")).expect("symlink");
    for missing in ["dangling", "missing"] {
        let error = find(missing, &dirs).expect_err(missing);
        assert!(error.is(Code::PluginMissing), "{error}");
        for part in [
            missing,
            &first_dir.path().display().to_string(),
            &second_dir.path().display().to_string(),
        ] {
            assert!(error.msg.contains(part), "{error}");
        }
        assert!(
            !error.msg.contains("not found"),
            "runtimes treat a DEL error with this text as success: {error}"
        );
    }
}

#[test]
fn a_type_cannot_leave_the_directories() {
    plexus_api::rows!("R-041");
    let root = tempfile::tempdir().expect("dir");
    let bin = root.path().join("bin");
    fs::create_dir_all(bin.join("sub")).expect("mkdir");
    program(root.path(), "outside", 0o755);
    program(&bin.join("sub"), "inside", 0o755);
    let absolute = root.path().join("outside").display().to_string();
    for kind in [
        "../outside",
        "sub/inside",
        &absolute,
        "a\\b",
        "..",
        ".",
        "",
        "a\0b",
    ] {
        let error = find(kind, std::slice::from_ref(&bin)).expect_err(kind);
        assert!(error.is(Code::InvalidConfig), "{kind:?}: {error}");
    }
}

#[test]
fn the_error_for_a_file_that_is_not_executable_names_the_file() {
    let dir = tempfile::tempdir().expect("dir");
    let file = program(dir.path(), "plain", 0o644);
    let error = find("plain", &[dir.path().to_owned()]).expect_err("not executable");
    assert!(error.is(Code::PluginMissing), "{error}");
    assert!(
        error.msg.contains(&file.display().to_string()) && error.msg.contains("is not executable"),
        "{error}"
    );
}

#[test]
fn without_any_directory_the_error_names_the_settings() {
    let error = find("bridge", &[]).expect_err("no directory");
    assert!(error.is(Code::PluginMissing), "{error}");
    assert!(
        error.msg.contains("CNI_PATH") && error.msg.contains("binDir"),
        "{error}"
    );
}

#[test]
fn messages_have_the_path_on_the_node() {
    for (path, expected) in [
        ("/proc/42/root/opt/cni/bin", "/opt/cni/bin"),
        ("/proc/42/root", "/"),
        ("/proc/self/root/x", "/proc/self/root/x"),
        ("/proc/42/cwd/x", "/proc/42/cwd/x"),
        ("/opt/cni/bin", "/opt/cni/bin"),
    ] {
        assert_eq!(on_node(Path::new(path)), expected);
    }
    let dir = PathBuf::from("/proc/42/root/opt/cni/bin");
    let error = find("missing", &[dir]).expect_err("missing");
    assert!(error.msg.contains("directories: /opt/cni/bin;"), "{error}");
}

#[test]
fn configured_directories_come_first_and_relative_ones_are_ignored() {
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
    let found = search_path(
        &paths(&["/opt/cni/bin", "rel", ""]),
        &paths(&["/usr/lib/cni", ".", "/opt/cni/bin", "/a:/b"]),
    );
    assert_eq!(found, paths(&["/opt/cni/bin", "/usr/lib/cni"]));
}
