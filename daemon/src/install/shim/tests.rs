use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;
use tokio::time::Instant;

use super::{Reconciled, SHIM, Shim};

struct Fixture {
    dir: TempDir,
    shim: Shim,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        fs::create_dir(dir.path().join("bin")).expect("directory");
        let shim = Shim::new(dir.path().join("source"), dir.path().join("bin"));
        let fixture = Self { dir, shim };
        fixture.write_source("#!/bin/sh\necho one\n");
        fixture
    }

    fn write_source(&self, text: &str) {
        fs::write(self.source(), text).expect("file");
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("bin").join(SHIM)
    }

    fn reconcile(&mut self) -> Reconciled {
        self.reconcile_at(Instant::now())
    }

    fn reconcile_at(&mut self, now: Instant) -> Reconciled {
        self.shim.reconcile(now).expect("no error")
    }

    fn reconcile_error(&mut self) -> String {
        self.shim
            .reconcile(Instant::now())
            .expect_err("the shim cannot be installed")
            .to_string()
    }

    fn mode(&self) -> u32 {
        let metadata = fs::metadata(self.path()).expect("installed");
        metadata.permissions().mode() & 0o777
    }
}

#[test]
fn an_installed_shim_is_executable_and_not_written_again() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.reconcile(), Reconciled::Written);
    let first = fs::metadata(fixture.path()).expect("installed");
    assert_eq!(fixture.mode(), 0o755);
    assert_eq!(fixture.reconcile(), Reconciled::Unchanged);
    fixture.shim.verified = None;
    assert_eq!(fixture.reconcile(), Reconciled::Unchanged);
    assert_eq!(
        fs::metadata(fixture.path()).expect("installed").ino(),
        first.ino(),
        "an equal file is not written again"
    );
    assert_eq!(
        fs::read_dir(fixture.dir.path().join("bin"))
            .expect("directory")
            .count(),
        1,
        "no temporary file is left"
    );
}

#[test]
fn a_shim_that_is_removed_changed_or_not_executable_is_restored() {
    let mut fixture = Fixture::new();
    fixture.reconcile();
    let now = Instant::now();
    fs::write(fixture.path(), "other").expect("file");
    assert_eq!(fixture.reconcile_at(now), Reconciled::Written, "at once");
    assert!(
        fs::read_to_string(fixture.path())
            .expect("installed")
            .contains("one")
    );
    fs::remove_file(fixture.path()).expect("file");
    let Reconciled::RetryAt(later) = fixture.reconcile_at(now) else {
        panic!("the second restoration has to wait");
    };
    assert!(later > now && !fixture.path().exists());
    assert_eq!(fixture.reconcile_at(later), Reconciled::Written);
    fs::set_permissions(fixture.path(), fs::Permissions::from_mode(0o644)).expect("chmod");
    let much_later = later + std::time::Duration::from_secs(10);
    assert_eq!(fixture.reconcile_at(much_later), Reconciled::Written);
    assert_eq!(fixture.mode(), 0o755);
}

#[test]
fn a_running_shim_can_be_replaced() {
    let mut fixture = Fixture::new();
    // A binary: a script is never "busy".
    fs::copy("/bin/cat", fixture.source()).expect("a program");
    fixture.reconcile();
    let mut old = Command::new(fixture.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the old shim runs");
    // An answer: under emulation, `spawn` may return before the program is executed.
    let mut byte = *b"x";
    let stdin = old.stdin.as_mut().expect("stdin");
    stdin.write_all(&byte).expect("write to the old shim");
    let stdout = old.stdout.as_mut().expect("stdout");
    stdout.read_exact(&mut byte).expect("the old shim answers");
    fs::write(fixture.path(), "x").expect_err("the old shim is busy");
    fixture.write_source("#!/bin/sh\necho two\n");
    fixture.shim.verified = None;
    assert_eq!(fixture.reconcile(), Reconciled::Written);
    let output = Command::new(fixture.path())
        .output()
        .expect("the new shim is not busy");
    assert_eq!(output.stdout, b"two\n");
    drop(old.stdin.take());
    assert!(old.wait().expect("the old shim ends").success());
}

#[test]
fn the_error_for_a_missing_source_names_the_option() {
    let mut fixture = Fixture::new();
    fs::remove_file(fixture.source()).expect("file");
    let error = fixture.reconcile_error();
    assert!(
        error.contains("--shim") && error.contains("source"),
        "{error}"
    );
}

#[test]
fn the_error_for_a_missing_directory_says_what_is_missing() {
    let mut fixture = Fixture::new();
    let bin = fixture.dir.path().join("bin");
    fs::remove_dir(&bin).expect("the directory");
    let expected = format!(
        "the shim is not installed: {}: the directory does not exist; create or mount the directory (shimDir)",
        fixture.path().display()
    );
    assert_eq!(fixture.reconcile_error(), expected);
    assert!(!bin.exists());
}

#[test]
fn the_error_for_a_directory_in_place_of_the_shim_names_the_path() {
    let mut fixture = Fixture::new();
    fs::create_dir(fixture.path()).expect("a directory");
    let error = fixture.reconcile_error();
    assert!(
        error.contains(fixture.path().to_str().expect("UTF-8")),
        "{error}"
    );
}

#[test]
fn a_fifo_in_place_of_the_shim_is_replaced() {
    let mut fixture = Fixture::new();
    mkfifo(&fixture.path(), Mode::from_bits_truncate(0o755)).expect("a FIFO");
    fs::set_permissions(fixture.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    assert_eq!(fixture.reconcile(), Reconciled::Written);
    assert!(fs::metadata(fixture.path()).expect("installed").is_file());
}
