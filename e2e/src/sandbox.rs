//! The network namespace of a pod.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::Node;
use crate::ip::{self, Link, Route};
use crate::node::expect_success;

/// A pod's network namespace, bound to `/run/netns/NAME` on its node, and the container ID that goes with it.
#[derive(Debug)]
pub struct Sandbox<'n> {
    node: &'n Node,
    path: String,
    id: String,
}

impl<'n> Sandbox<'n> {
    pub(crate) fn new(node: &'n Node, name: &str, ordinal: u32) -> Self {
        let path = format!("/run/netns/{name}");
        // 64 hexadecimal digits, as containerd has them; different on every node.
        let id = [0, 1, 2, 3]
            .map(|part| format!("{:016x}", hash(node, ordinal, part)))
            .concat();
        node.run(|| {
            File::create_new(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            let made = thread::scope(|scope| {
                scope
                    .spawn(|| make_at(&path))
                    .join()
                    .expect("it does not panic")
            });
            made.unwrap_or_else(|error| panic!("{path}: {error}"));
        });
        let sandbox = Self { node, path, id };
        // Runtimes see to it themselves.
        sandbox.ip("link set lo up");
        sandbox
    }

    /// The path of the namespace: `CNI_NETNS`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The container ID: `CNI_CONTAINERID`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The node that it is on.
    pub fn node(&self) -> &'n Node {
        self.node
    }

    /// The inode of the namespace.
    pub fn inode(&self) -> u64 {
        self.node.run(|| {
            fs::metadata(&self.path)
                .unwrap_or_else(|error| panic!("{}: {error}", self.path))
                .ino()
        })
    }

    /// Runs `job` in the namespace.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        self.node.run(|| {
            let namespace =
                File::open(&self.path).unwrap_or_else(|error| panic!("{}: {error}", self.path));
            setns(namespace, CloneFlags::CLONE_NEWNET)
                .unwrap_or_else(|error| panic!("{}: {error}", self.path));
            job()
        })
    }

    /// Runs `ip` in the namespace with `arguments` separated by blanks, and expects it to succeed.
    pub fn ip(&self, arguments: &str) {
        expect_success(arguments, self.run(|| ip::command(arguments).output()));
    }

    /// Its links, `lo` among them.
    pub fn links(&self) -> Vec<Link> {
        self.run(ip::links)
    }

    /// The link `name`, where it is there.
    pub fn link(&self, name: &str) -> Option<Link> {
        self.links().into_iter().find(|link| link.name == name)
    }

    /// The routes of its main table.
    pub fn routes(&self) -> Vec<Route> {
        self.run(ip::routes)
    }

    /// Removes it, as a runtime does at the end of a pod. Its name may be used again; a second call does nothing.
    pub fn remove(&self) {
        self.node.run(|| {
            let _ = umount2(self.path.as_str(), MntFlags::MNT_DETACH);
            let _ = fs::remove_file(&self.path);
        });
    }
}

fn make_at(path: &str) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    mount(
        Some("/proc/thread-self/ns/net"),
        path,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
}

fn hash(node: &Node, ordinal: u32, part: u8) -> u64 {
    let mut hasher = DefaultHasher::new();
    (node.scratch(), ordinal, part).hash(&mut hasher);
    hasher.finish()
}
