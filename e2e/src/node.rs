//! A node: a mount and a network namespace of its own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plexus_kubelet::Kubelet;
use tempfile::TempDir;

use crate::ip::{self, Link};
use crate::mounts;

/// The reason why a node could not be made.
#[derive(Debug)]
pub enum NodeError {
    /// A right or a tool is missing. Tests are skipped with this reason.
    Unavailable(String),
    /// Anything else.
    Failed(io::Error),
}

/// A node for one test: a mount and a network namespace with private `/run`, `/etc/cni`,
/// `/var/lib/cni` and `/var/lib/plexus`, and with `lo` up. Dropping the node kills its processes;
/// the kernel then removes everything else.
#[derive(Debug)]
pub struct Node {
    mnt: File,
    net: File,
    scratch: TempDir,
    sandboxes: AtomicU32,
}

impl Node {
    /// Makes a node.
    ///
    /// # Errors
    /// [`NodeError::Unavailable`] if this process may not make namespaces or `ip` is not installed.
    pub fn new() -> Result<Self, NodeError> {
        let scratch = tempfile::Builder::new()
            .prefix("plexus-")
            .tempdir()
            .map_err(NodeError::Failed)?;
        fs::create_dir(scratch.path().join("bin")).map_err(NodeError::Failed)?;
        let (mnt, net) =
            thread::scope(|scope| scope.spawn(make_namespaces).join().expect("no panic"))?;
        let node = Self {
            mnt,
            net,
            scratch,
            sandboxes: AtomicU32::new(0),
        };
        match node.run(|| ip::command("link set lo up").status()) {
            Ok(status) if status.success() => Ok(node),
            Ok(status) => Err(NodeError::Failed(io::Error::other(format!(
                "ip link set lo up: {status}"
            )))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(NodeError::Unavailable(
                "ip is missing (Debian package iproute2)".into(),
            )),
            Err(error) => Err(NodeError::Failed(error)),
        }
    }

    /// Runs `job` on this node in a new thread and waits for it. Processes that `job` spawns are on
    /// the node as well.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        let name = thread::current().name().unwrap_or("node").to_owned();
        thread::scope(|scope| {
            let thread = thread::Builder::new().name(name).spawn_scoped(scope, || {
                self.enter()
                    .unwrap_or_else(|error| panic!("cannot enter the node: {error}"));
                job()
            });
            thread.expect("start a thread").join()
        })
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Starts `command` on this node.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.run(|| command.spawn())
    }

    /// Runs `ip` on this node. `arguments` are separated by spaces. Panics if the command fails.
    pub fn ip(&self, arguments: &str) {
        ip::expect_success(arguments, self.run(|| ip::command(arguments).output()));
    }

    /// Makes the physical interface of the node: one end of a veth pair, up.
    pub fn uplink(&self, name: &str) {
        self.ip(&format!("link add {name} type veth peer name {name}p"));
        self.ip(&format!("link set {name} up"));
        self.ip(&format!("link set {name}p up"));
    }

    /// Moves a link of the machine to the node. The kernel gives a hardware link back to the machine
    /// when the node is dropped.
    pub fn take_link(&self, name: &str) {
        let net = format!("/proc/{}/fd/{}", std::process::id(), self.net.as_raw_fd());
        let arguments = format!("link set {name} netns {net}");
        ip::expect_success(&arguments, ip::command(&arguments).output());
    }

    /// The links in the node's network namespace.
    pub fn links(&self) -> Vec<Link> {
        self.run(ip::links)
    }

    /// Writes a file of the node.
    #[track_caller]
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let (path, content) = (path.as_ref(), content.as_ref());
        self.run(|| fs::write(path, content))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// The content of a file of the node.
    #[track_caller]
    pub fn read(&self, path: impl AsRef<Path>) -> String {
        let path = path.as_ref();
        self.try_read(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The same, for a file that may be missing.
    pub fn try_read(&self, path: impl AsRef<Path>) -> io::Result<String> {
        let path = path.as_ref();
        self.run(|| fs::read_to_string(path))
    }

    /// Whether the node has this file.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        self.run(|| path.exists())
    }

    /// The names in a directory of the node, sorted. Empty if the directory is missing.
    pub fn list(&self, dir: impl AsRef<Path>) -> Vec<String> {
        let dir = dir.as_ref();
        let entries = || fs::read_dir(dir).into_iter().flatten().flatten();
        let mut names: Vec<_> = self.run(|| {
            entries()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        });
        names.sort();
        names
    }

    /// A directory for files of the test. It has the same path on and off the node, and is removed
    /// with the node.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The directory of the CNI plugins.
    pub fn bin_dir(&self) -> PathBuf {
        self.scratch.path().join("bin")
    }

    /// Starts the node's kubelet, whose root directory is in the scratch directory.
    pub fn kubelet(&self) -> Kubelet {
        Kubelet::start(&self.kubelet_dir())
    }

    /// The root directory of kubelet. It is missing until a kubelet is started.
    pub fn kubelet_dir(&self) -> PathBuf {
        self.scratch.path().join("kubelet")
    }

    /// The processes on this node.
    pub fn processes(&self) -> BTreeSet<Pid> {
        let Ok(own) = self.mnt.metadata().map(|meta| meta.ino()) else {
            return BTreeSet::new();
        };
        let Ok(entries) = fs::read_dir("/proc") else {
            return BTreeSet::new();
        };
        let pids = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw));
        // The file cannot be read if the process has ended or belongs to another user.
        pids.filter(|pid| {
            fs::metadata(format!("/proc/{pid}/ns/mnt")).is_ok_and(|meta| meta.ino() == own)
        })
        .collect()
    }

    /// The number of the next sandbox.
    pub(crate) fn next_sandbox(&self) -> u32 {
        self.sandboxes.fetch_add(1, Ordering::Relaxed)
    }

    /// Moves the calling thread onto the node permanently.
    fn enter(&self) -> nix::Result<()> {
        // A thread that shares its root and working directory may not change its mount namespace.
        unshare(CloneFlags::CLONE_FS)?;
        setns(&self.net, CloneFlags::CLONE_NEWNET)?;
        setns(&self.mnt, CloneFlags::CLONE_NEWNS)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A process may fork before it is killed, hence the loop.
        let mut killed = BTreeSet::new();
        loop {
            let found: Vec<_> = self
                .processes()
                .into_iter()
                .filter(|pid| killed.insert(*pid))
                .collect();
            if found.is_empty() {
                break;
            }
            for pid in found {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }
}

fn make_namespaces() -> Result<(File, File), NodeError> {
    match unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET) {
        Ok(()) => {}
        Err(Errno::EPERM) => {
            let reason = "may not make namespaces: run as root, or under `unshare -Urm`";
            return Err(NodeError::Unavailable(reason.into()));
        }
        Err(error) => return Err(NodeError::Failed(error.into())),
    }
    mounts::make_private().map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES) => {
            NodeError::Unavailable(format!("may not mount: {error}"))
        }
        _ => NodeError::Failed(error),
    })?;
    let open = |kind| File::open(format!("/proc/thread-self/ns/{kind}")).map_err(NodeError::Failed);
    Ok((open("mnt")?, open("net")?))
}

/// Evaluates to a [`Node`], or skips the test if this process may not make one.
#[macro_export]
macro_rules! node {
    () => {
        match $crate::Node::new() {
            Ok(node) => node,
            Err($crate::NodeError::Unavailable(reason)) => $crate::skip!("{reason}"),
            Err($crate::NodeError::Failed(error)) => panic!("cannot make a node: {error}"),
        }
    };
}
