use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::time::Instant;

use super::{SHIM, Shim};

struct Bench {
    dir: TempDir,
    shim: Shim,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        fs::create_dir(dir.path().join("bin")).expect("directory");
        let shim = Shim::new(dir.path().join("ours"), dir.path().join("bin"));
        let bench = Self { dir, shim };
        bench.ours("#!/bin/sh\necho one\n");
        bench
    }

    fn ours(&self, text: &str) {
        fs::write(self.dir.path().join("ours"), text).expect("file");
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("bin").join(SHIM)
    }

    fn bring(&mut self) {
        assert_eq!(
            self.shim
                .bring(Instant::now())
                .expect("it can be installed"),
            None
        );
    }
}

#[test]
fn it_is_installed_executable_and_left_alone_when_it_is_the_same() {
    let mut bench = Bench::new();
    bench.bring();
    let first = fs::metadata(bench.path()).expect("installed");
    assert_eq!(first.permissions().mode() & 0o777, 0o755);
    bench.bring();
    bench.shim.settled = None;
    bench.bring();
    assert_eq!(
        fs::metadata(bench.path()).expect("installed").ino(),
        first.ino(),
        "the same is not written again"
    );
    assert_eq!(
        fs::read_dir(bench.dir.path().join("bin"))
            .expect("directory")
            .count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn it_is_put_back_where_it_is_gone_changed_or_not_executable() {
    let mut bench = Bench::new();
    bench.bring();
    let now = Instant::now();
    fs::write(bench.path(), "other").expect("file");
    assert_eq!(bench.shim.bring(now).expect("at once"), None);
    assert!(
        fs::read_to_string(bench.path())
            .expect("installed")
            .contains("one")
    );
    fs::remove_file(bench.path()).expect("file");
    let later = bench
        .shim
        .bring(now)
        .expect("no error")
        .expect("not in a hurry");
    assert!(later > now && !bench.path().exists());
    assert_eq!(bench.shim.bring(later).expect("then"), None);
    fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o644)).expect("chmod");
    let much_later = later + std::time::Duration::from_secs(10);
    assert_eq!(bench.shim.bring(much_later).expect("then"), None);
    assert_eq!(
        fs::metadata(bench.path())
            .expect("installed")
            .permissions()
            .mode()
            & 0o777,
        0o755
    );
}

#[test]
fn it_is_replaced_while_it_runs() {
    let mut bench = Bench::new();
    // A program, not a script: those are never busy.
    fs::copy("/bin/cat", bench.dir.path().join("ours")).expect("a program");
    bench.bring();
    let mut old = Command::new(bench.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    fs::write(bench.path(), "x").expect_err("it is busy");
    bench.ours("#!/bin/sh\necho two\n");
    bench.shim.settled = None;
    bench.bring();
    let output = Command::new(bench.path())
        .output()
        .expect("the new one is not busy");
    assert_eq!(output.stdout, b"two\n");
    drop(old.stdin.take());
    assert!(old.wait().expect("it ends").success());
}

#[test]
fn without_our_own_copy_the_error_says_how_to_name_it() {
    let mut bench = Bench::new();
    fs::remove_file(bench.dir.path().join("ours")).expect("file");
    let error = bench
        .shim
        .bring(Instant::now())
        .expect_err("nothing to install")
        .to_string();
    assert!(
        error.contains("--shim") && error.contains("ours"),
        "{error}"
    );
}

#[test]
fn what_stands_in_its_place_is_named() {
    let mut bench = Bench::new();
    fs::create_dir(bench.path()).expect("a directory");
    let error = bench
        .shim
        .bring(Instant::now())
        .expect_err("nothing to replace")
        .to_string();
    assert!(
        error.contains(bench.path().to_str().expect("UTF-8")),
        "{error}"
    );
}
