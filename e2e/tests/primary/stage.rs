//! The node of these tests.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use plexus_e2e::{Changes, Daemon, Flavour, Manifests, Node, Pod, Runtime, Script, Step};
use serde_json::{Value, json};

pub const NET_D: &str = "/etc/cni/net.d";
pub const OURS: &str = "/etc/cni/net.d/00-plexus.conflist";
pub const PRIMARY: &str = "/etc/cni/net.d/10-ovn-kubernetes.conf";

/// A node as a cluster has it: the runtime's directories, and the network plugin `ovn`.
pub struct Stage<'n> {
    pub node: &'n Node,
    pub manifests: Manifests,
    pub bin: PathBuf,
}

impl<'n> Stage<'n> {
    pub fn set(node: &'n Node) -> Self {
        let add = [
            Step::Link("bridge".into()),
            Step::result("10.4.0.2/24", "10.4.0.1"),
        ];
        node.plugin(
            "ovn",
            &Script::new().on("ADD", add).on("DEL", [Step::Unlink]),
        );
        node.run(|| fs::create_dir_all(NET_D)).expect("a directory");
        let manifests = Manifests::new(node.scratch().join("manifests"));
        manifests.pod(&Pod::new("web"));
        Self {
            node,
            manifests,
            bin: node.bin_dir(),
        }
    }

    /// What the daemons of a cluster would have.
    pub fn config(&self) -> Value {
        json!({"multusAutoconfigDir": NET_D, "cniConfigDir": NET_D, "shimDir": self.bin, "binDir": self.bin, "goneGap": "0s"})
    }

    pub fn daemon(&self, config: &Value) -> Daemon<'n> {
        Daemon::new(self.node, config, self.manifests.dir())
    }

    pub fn write(&self, path: &str, text: &str) {
        self.node
            .run(|| fs::write(path, text))
            .expect("a file can be written");
    }

    pub fn primary(&self) {
        let config = json!({"cniVersion": "1.0.0", "name": "ovn", "type": "ovn", "capabilities": {"portMappings": true}});
        self.write(PRIMARY, &config.to_string());
    }

    pub fn exists(&self, path: &str) -> bool {
        self.node.run(|| Path::new(path).exists())
    }

    pub fn changes(&self) -> Changes {
        Changes::watch(
            self.node,
            &[Path::new("/etc/cni"), Path::new(NET_D), &self.bin],
        )
    }

    pub fn published(&self) -> Option<Value> {
        serde_json::from_slice(&self.node.run(|| fs::read(OURS)).ok()?).ok()
    }

    /// A runtime that executes the installed shim as the published list tells it.
    pub fn runtime(&self, shim: PathBuf) -> Runtime<'n> {
        let list = self.published().expect("it is published");
        assert_eq!(list["cniVersions"], json!(["1.0.0", "1.1.0"]));
        let mut plugin = list["plugins"][0].clone();
        plugin["name"] = list["name"].clone();
        plugin["cniVersion"] = json!("1.1.0");
        Runtime::new(self.node, Flavour::Containerd, shim, plugin)
    }

    /// Which file the runtime would read, and when it was written.
    pub fn stamp(&self) -> (u64, i64, i64) {
        let meta = self
            .node
            .run(|| fs::metadata(OURS))
            .expect("it is published");
        (meta.ino(), meta.mtime(), meta.mtime_nsec())
    }
}

pub fn until_not_ready(daemon: &Daemon<'_>, text: &str) {
    until(daemon, text, |status, body| {
        status == 500 && body.contains(text)
    });
}

/// Asks `/readyz`, which sends no event, until it answers so.
pub fn until(daemon: &Daemon<'_>, what: &str, wanted: impl Fn(u16, &str) -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let reply = daemon.get("/readyz");
        if reply
            .as_ref()
            .is_ok_and(|reply| wanted(reply.status, &reply.body))
        {
            return;
        }
        assert!(std::time::Instant::now() < end, "never: {what}: {reply:?}");
        std::thread::yield_now();
    }
}
