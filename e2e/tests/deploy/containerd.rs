//! containerd on a node, with the image of `make image`. Both are Debian's packages; CI may lack them.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::SystemTime;

use plexus_e2e::Node;
use serde_json::json;

use crate::objects::root;

/// The name of the image.
pub const IMAGE: &str = concat!("localhost/plexus:", env!("CARGO_PKG_VERSION"));

/// What is missing here.
pub fn missing() -> Option<String> {
    for program in ["dist/plexus", "dist/plexusd"] {
        let Ok(built) = fs::metadata(root(program)).and_then(|meta| meta.modified()) else {
            return Some(format!("{program} is missing: make build"));
        };
        if ["api/src", "daemon/src", "shim/src"].iter().any(|dir| newest(&root(dir)) > built) {
            return Some(format!("{program} is older than its sources: make build"));
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = std::env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
    let has = |program: &&str| dirs.iter().any(|dir| dir.join(program).exists());
    if let Some(program) = ["make", "buildah", "containerd", "ctr", "runc"].into_iter().find(|program| !has(program)) {
        return Some(format!("{program} is missing"));
    }
    (!nix::unistd::geteuid().is_root()).then(|| "containerd needs root".to_owned())
}

fn newest(dir: &Path) -> SystemTime {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())).flatten();
    let age = |entry: fs::DirEntry| {
        if entry.path().is_dir() {
            newest(&entry.path())
        } else {
            entry.metadata().and_then(|meta| meta.modified()).expect("a time")
        }
    };
    entries.map(age).max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Its stdout. Panics if it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    stdout.into_owned()
}

/// The archive, packed once for all tests. What was built is packed, not built again.
pub fn archive() -> &'static Path {
    static ARCHIVE: LazyLock<PathBuf> = LazyLock::new(|| {
        let target = plexus_e2e::binaries::target_dir();
        run(Command::new("make").args(["-o", "build", "image"]).current_dir(root("")).env("CARGO_TARGET_DIR", target));
        root("dist/plexus-image.tar")
    });
    &ARCHIVE
}

/// A containerd that has the image. It ends with its containers when this is dropped.
pub struct Containerd<'n> {
    node: &'n Node,
    child: Child,
    containers: Mutex<Vec<String>>,
}

impl<'n> Containerd<'n> {
    pub fn start(node: &'n Node) -> Self {
        // The node's own sysfs has no control groups, which runc wants; the machine's is below it.
        node.run(|| nix::mount::umount("/sys")).expect("the node has a sysfs of its own");
        let dir = node.scratch().join("containerd");
        fs::create_dir(&dir).expect("it can be made");
        let text = format!(
            "version = 2\nroot = {}\nstate = {}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {}\n",
            json!(dir.join("root")),
            json!(dir.join("state")),
            json!(socket(node)),
        );
        fs::write(dir.join("config.toml"), text).expect("it can be written");
        let mut command = Command::new("containerd");
        command.arg("--config").arg(dir.join("config.toml")).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = node.spawn(&mut command).expect("containerd can be executed");
        let mut this = Self { node, child, containers: Mutex::default() };
        let mut log = BufReader::new(this.child.stderr.take().expect("it is piped"));
        let (mut line, mut all) = (String::new(), String::new());
        while log.read_line(&mut line).is_ok_and(|read| read > 0) {
            if line.contains("containerd successfully booted") {
                // Nobody must block it by not reading on.
                std::thread::spawn(move || io::copy(&mut log, &mut io::sink()));
                this.ctr(&["images", "import", archive().to_str().expect("text")]);
                return this;
            }
            all.push_str(&std::mem::take(&mut line));
        }
        panic!("containerd does not start:\n{all}");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(socket(self.node)).args(args);
        command
    }

    /// What `ctr` says. Panics if it fails.
    pub fn ctr(&self, args: &[&str]) -> String {
        self.node.run(|| run(&mut self.command(args)))
    }

    /// Whether `ctr` succeeds, and what it says.
    pub fn try_ctr(&self, args: &[&str]) -> (bool, String) {
        let output = self.node.run(|| self.command(args).output()).expect("ctr can be executed");
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// Runs a container of the image until it ends; what it says.
    pub fn run(&self, id: &str, command: &[&str]) -> String {
        let args = ["run", "--rm", "--read-only", "--snapshotter", "native", IMAGE, id];
        self.ctr(&[&args[..], command].concat())
    }

    /// Starts a container of the image, and does not wait for its end.
    pub fn start_container(&self, id: &str, options: &[&str], command: &[&str]) {
        self.containers.lock().expect("no panic").push(id.to_owned());
        let args = ["run", "--detach", "--snapshotter", "native"];
        self.ctr(&[&args[..], options, &[IMAGE, id], command].concat());
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        for id in self.containers.lock().expect("no panic").iter() {
            self.try_ctr(&["task", "rm", "--force", id]);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket(node: &Node) -> PathBuf {
    node.scratch().join("containerd.sock")
}
