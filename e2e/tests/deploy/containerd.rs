//! containerd with the image of `make image`. It takes buildah, which CI may lack.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::SystemTime;

use plexus_e2e::{Containerd, Node};

use crate::objects::root;

/// The name of the image.
pub const IMAGE: &str = concat!("localhost/plexus:", env!("CARGO_PKG_VERSION"));

/// What is missing here.
pub fn missing() -> Option<String> {
    for program in ["dist/plexus", "dist/plexusd"] {
        let Ok(built) = fs::metadata(root(program)).and_then(|meta| meta.modified()) else {
            return Some(format!("{program} is missing: make build"));
        };
        if ["api/src", "daemon/src", "shim/src"]
            .iter()
            .any(|dir| newest(&root(dir)) > built)
        {
            return Some(format!("{program} is older than its sources: make build"));
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

/// Its stdout. Panics if it fails.
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

/// The archive, packed once for all tests. What was built is packed, not built again.
pub fn archive() -> &'static Path {
    static ARCHIVE: LazyLock<PathBuf> = LazyLock::new(|| {
        let target = plexus_e2e::binaries::target_dir();
        run(Command::new("make")
            .args(["-o", "build", "image"])
            .current_dir(root(""))
            .env("CARGO_TARGET_DIR", target));
        root("dist/plexus-image.tar")
    });
    &ARCHIVE
}

/// A containerd that has the image.
pub fn start(node: &Node) -> Containerd<'_> {
    let containerd = Containerd::start(node);
    containerd.ctr(&["images", "import", archive().to_str().expect("text")]);
    containerd
}

/// Runs a container of the image until it ends; what it says.
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

/// Starts a container of the image, and does not wait for its end.
pub fn start_container(containerd: &Containerd, id: &str, options: &[&str], command: &[&str]) {
    let args = ["run", "--detach", "--snapshotter", "native"];
    containerd.ctr(&[&args[..], options, &[IMAGE, id], command].concat());
}
