//! containerd with the image of `make image`, which needs buildah.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::SystemTime;

use plexus_e2e::{Containerd, Node};

use crate::objects::root;

pub const IMAGE: &str = concat!("localhost/plexus:", env!("CARGO_PKG_VERSION"));

/// What is missing to run these tests.
pub fn missing() -> Option<String> {
    for program in ["dist/plexus", "dist/plexusd"] {
        let Ok(built) = fs::metadata(root(program)).and_then(|meta| meta.modified()) else {
            return Some(format!("{program} is missing: run make build"));
        };
        if ["api/src", "daemon/src", "shim/src"]
            .iter()
            .any(|dir| newest(&root(dir)) > built)
        {
            return Some(format!(
                "{program} is older than its sources: run make build"
            ));
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &&str| std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    if let Some(program) = ["make", "buildah"]
        .into_iter()
        .find(|program| !has(program))
    {
        return Some(format!("{program} is missing"));
    }
    Containerd::missing()
}

fn newest(dir: &Path) -> SystemTime {
    let entries = fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .flatten();
    let age = |entry: fs::DirEntry| {
        if entry.path().is_dir() {
            newest(&entry.path())
        } else {
            entry
                .metadata()
                .and_then(|meta| meta.modified())
                .expect("a time")
        }
    };
    entries.map(age).max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Runs a command and returns its stdout. Panics if the command fails.
pub fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    stdout.into_owned()
}

/// The archive with the image. Packed once for all tests, without building the programs again.
pub fn archive() -> &'static Path {
    static ARCHIVE: LazyLock<PathBuf> = LazyLock::new(|| {
        let target = plexus_e2e::binaries::target_dir();
        run(Command::new("make")
            .args(["-o", "build-amd64", "-o", "build-arm64", "image"])
            .current_dir(root(""))
            .env("CARGO_TARGET_DIR", target));
        root("dist/plexus-image.tar")
    });
    &ARCHIVE
}

/// Starts containerd and imports the image.
pub fn start(node: &Node) -> Containerd<'_> {
    let containerd = Containerd::start(node);
    containerd.ctr(&["images", "import", archive().to_str().expect("UTF-8")]);
    containerd
}

/// Runs a container until it exits and returns its output.
pub fn run_container(containerd: &Containerd, id: &str, command: &[&str]) -> String {
    let args = [
        "run",
        "--rm",
        "--read-only",
        "--snapshotter",
        "native",
        IMAGE,
        id,
    ];
    containerd.ctr(&[&args[..], command].concat())
}

/// Starts a container and does not wait for it.
pub fn start_container(containerd: &Containerd, id: &str, options: &[&str], command: &[&str]) {
    let args = ["run", "--detach", "--snapshotter", "native"];
    containerd.ctr(&[&args[..], options, &[IMAGE, id], command].concat());
}
