//! A node: a mount and a network namespace of its own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::binaries::binary;
use crate::ip::{self, Link};
use crate::{Call, Gate, Sandbox, Script, ScriptFile, mounts, plugin_log};

/// Why there is no node.
#[derive(Debug)]
pub enum NodeError {
    /// This process may not make namespaces, or a tool is missing: a test is skipped, with this reason.
    Unable(String),
    /// It should have worked.
    Failed(io::Error),
}

/// A machine of its own for one test: mount and network namespace, private `/run`, `/var/lib/cni` and
/// `/var/lib/plexus`, `lo` up. Its processes are killed when it is dropped, and then the kernel removes the rest.
#[derive(Debug)]
pub struct Node {
    mnt: File,
    net: File,
    scratch: TempDir,
    sandboxes: AtomicU32,
}

impl Node {
    /// Makes one.
    ///
    /// # Errors
    /// [`NodeError::Unable`] where this process lacks the right or `ip` is not installed.
    pub fn new() -> Result<Self, NodeError> {
        let scratch = tempfile::Builder::new()
            .prefix("plexus-")
            .tempdir()
            .map_err(NodeError::Failed)?;
        fs::create_dir(scratch.path().join("bin")).map_err(NodeError::Failed)?;
        let (mnt, net) = thread::scope(|scope| {
            scope
                .spawn(make_namespaces)
                .join()
                .expect("it does not panic")
        })?;
        let node = Self {
            mnt,
            net,
            scratch,
            sandboxes: AtomicU32::new(0),
        };
        match node.run(|| {
            Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status()
        }) {
            Ok(status) if status.success() => Ok(node),
            Ok(status) => Err(NodeError::Failed(io::Error::other(format!(
                "ip link set lo up: {status}"
            )))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(NodeError::Unable(
                "ip is missing (Debian's package iproute2)".into(),
            )),
            Err(error) => Err(NodeError::Failed(error)),
        }
    }

    /// Runs `job` on this node, in a thread of its own that the caller waits for. What it spawns is on the node too.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        let name = thread::current().name().unwrap_or("node").to_owned();
        thread::scope(|scope| {
            let thread = thread::Builder::new().name(name).spawn_scoped(scope, || {
                self.enter()
                    .unwrap_or_else(|error| panic!("cannot enter the node: {error}"));
                job()
            });
            thread.expect("a thread can be started").join()
        })
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Starts `command` on this node.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.run(|| command.spawn())
    }

    /// Runs `ip` on this node with `arguments` separated by blanks, and expects it to succeed.
    pub fn ip(&self, arguments: &str) {
        let output = self.run(|| ip::command(arguments).output());
        expect_success(arguments, output);
    }

    /// Makes the network namespace of a pod, at `/run/netns/NAME`.
    pub fn sandbox(&self, name: &str) -> Sandbox<'_> {
        let ordinal = self.sandboxes.fetch_add(1, Ordering::Relaxed);
        Sandbox::new(self, name, ordinal)
    }

    /// Makes the node's physical interface, as far as a macvlan can tell: one end of a veth pair, up.
    pub fn uplink(&self, name: &str) {
        self.ip(&format!("link add {name} type veth peer name {name}p"));
        self.ip(&format!("link set {name} up"));
        self.ip(&format!("link set {name}p up"));
    }

    /// The links of the node itself.
    pub fn links(&self) -> Vec<Link> {
        self.run(ip::links)
    }

    /// A directory of this node for files of the test, seen on and off the node, removed with it.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The directory of the scripted plugins.
    pub fn bin_dir(&self) -> PathBuf {
        self.scratch.path().join("bin")
    }

    /// Installs a scripted plugin under `name`, or gives it another script.
    pub fn plugin(&self, name: &str, script: &Script) {
        let program = self.bin_dir().join(name);
        if !program.exists() {
            place(&binary("scripted-plugin"), &program);
        }
        let file = ScriptFile {
            log: self.call_log(),
            script: script.clone(),
        };
        let text = serde_json::to_vec(&file).expect("a script is JSON");
        let temporary = self.bin_dir().join(format!(".{name}.new"));
        fs::write(&temporary, text).expect("the script can be written");
        fs::rename(&temporary, ScriptFile::path_beside(&program))
            .expect("the script can be put in place");
    }

    /// Puts the real plugins `names` beside the scripted ones, from `dir`.
    pub fn real_plugins(&self, dir: &Path, names: &[&str]) {
        for name in names {
            place(&dir.join(name), &self.bin_dir().join(name));
        }
    }

    /// What the scripted plugins were asked so far, in the order of their start.
    pub fn calls(&self) -> Vec<Call> {
        plugin_log::read(&self.call_log())
    }

    /// Forgets what the scripted plugins were asked so far.
    pub fn forget_calls(&self) {
        let _ = fs::remove_file(self.call_log());
    }

    /// A place where a scripted plugin waits until the test lets it go on.
    pub fn gate(&self, name: &str) -> Gate {
        Gate::new(self.scratch.path().join(format!("{name}.gate")))
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
        // A process that has ended, or that is not ours, has no such file for us.
        pids.filter(|pid| {
            fs::metadata(format!("/proc/{pid}/ns/mnt")).is_ok_and(|meta| meta.ino() == own)
        })
        .collect()
    }

    fn call_log(&self) -> PathBuf {
        self.scratch.path().join("calls.jsonl")
    }

    /// Moves the calling thread onto the node, for good.
    fn enter(&self) -> nix::Result<()> {
        // A thread that shares its root and working directory with others may not change its mount namespace.
        unshare(CloneFlags::CLONE_FS)?;
        setns(&self.net, CloneFlags::CLONE_NEWNET)?;
        setns(&self.mnt, CloneFlags::CLONE_NEWNS)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Whatever a test or a killed daemon left running. A process may fork until it is killed, hence the rounds.
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
            let reason = "no right to make namespaces: run as root, or under `unshare -Urm`";
            return Err(NodeError::Unable(reason.into()));
        }
        Err(error) => return Err(NodeError::Failed(error.into())),
    }
    mounts::furnish().map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES) => {
            NodeError::Unable(format!("no right to mount: {error}"))
        }
        _ => NodeError::Failed(error),
    })?;
    let open = |kind| File::open(format!("/proc/thread-self/ns/{kind}")).map_err(NodeError::Failed);
    Ok((open("mnt")?, open("net")?))
}

/// Puts a program at `to`: a link, and not a symbolic one, because a lookup that resolves those finds another name.
/// Where it cannot be linked, `cp` copies it: a program that this process had open for writing could not be executed
/// while another thread forks.
fn place(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        let status = Command::new("cp").arg(from).arg(to).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "cannot copy {} to {}",
            from.display(),
            to.display()
        );
    }
}

/// Panics with what `ip` said unless it succeeded.
pub fn expect_success(arguments: &str, output: io::Result<Output>) {
    let output = output.unwrap_or_else(|error| panic!("ip {arguments}: {error}"));
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
}

/// A [`Node`], or the test is skipped where this process may not make one.
#[macro_export]
macro_rules! node {
    () => {
        match $crate::Node::new() {
            Ok(node) => node,
            Err($crate::NodeError::Unable(reason)) => $crate::skip!("{reason}"),
            Err($crate::NodeError::Failed(error)) => panic!("cannot make a node: {error}"),
        }
    };
}
