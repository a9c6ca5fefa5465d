//! The network namespace of a pod.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::Node;
use crate::ip::{self, Link, Route};

/// A pod's network namespace, bound to `/run/netns/NAME` on its node, with a container ID.
#[derive(Debug)]
pub struct Sandbox<'n> {
    node: &'n Node,
    path: String,
    id: String,
}

impl Node {
    /// Makes the network namespace of a pod at `/run/netns/NAME`.
    pub fn sandbox(&self, name: &str) -> Sandbox<'_> {
        Sandbox::new(self, name, self.next_sandbox())
    }
}

impl<'n> Sandbox<'n> {
    fn new(node: &'n Node, name: &str, ordinal: u32) -> Self {
        let path = format!("/run/netns/{name}");
        // 64 hexadecimal digits like containerd's, different on every node.
        let id = [0, 1, 2, 3]
            .map(|part| format!("{:016x}", hash(node, ordinal, part)))
            .concat();
        node.run(|| {
            File::create_new(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            thread::scope(|scope| scope.spawn(|| bind_new_netns(&path)).join())
                .expect("no panic")
                .unwrap_or_else(|error| panic!("{path}: {error}"));
        });
        let sandbox = Self { node, path, id };
        // Runtimes do that themselves.
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

    /// The inode of the namespace.
    pub fn inode(&self) -> u64 {
        self.node
            .run(|| fs::metadata(&self.path))
            .unwrap_or_else(|error| panic!("{}: {error}", self.path))
            .ino()
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

    /// Runs `ip` in the namespace. `arguments` are separated by spaces. Panics if the command
    /// fails.
    pub fn ip(&self, arguments: &str) {
        ip::expect_success(arguments, self.run(|| ip::command(arguments).output()));
    }

    /// All links, including `lo`.
    pub fn links(&self) -> Vec<Link> {
        self.run(ip::links)
    }

    /// The names of all links.
    pub fn link_names(&self) -> Vec<String> {
        self.links().into_iter().map(|link| link.name).collect()
    }

    /// The link `name`, if it exists.
    pub fn link(&self, name: &str) -> Option<Link> {
        self.links().into_iter().find(|link| link.name == name)
    }

    /// The routes of the main table.
    pub fn routes(&self) -> Vec<Route> {
        self.run(ip::routes)
    }

    /// Removes the namespace, as a runtime does at the end of a pod. The name can then be used
    /// again. A second call does nothing.
    pub fn remove(&self) {
        self.node.run(|| {
            let _ = umount2(self.path.as_str(), MntFlags::MNT_DETACH);
            let _ = fs::remove_file(&self.path);
        });
    }
}

fn bind_new_netns(path: &str) -> nix::Result<()> {
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
