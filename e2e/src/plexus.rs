//! Plexus at work on a node: the daemon, a cluster of files, and a default network by a scripted plugin.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::binaries::binary;
use crate::{
    Call, Changes, Daemon, Flavour, Manifests, Node, Pod, Runtime, Sandbox, Script, Step, Target,
};

/// The plugin of the default network `pods`.
pub const MAIN: &str = "main";

/// What the daemon keeps, on the node.
const STATE: &str = "/var/lib/plexus";

/// Plexus at work on a node.
#[derive(Debug)]
pub struct Plexus<'n> {
    /// Where it is.
    pub node: &'n Node,
    /// Its cluster.
    pub manifests: Manifests,
    /// The configuration of the daemon.
    pub config: Value,
    /// The daemon.
    pub daemon: Daemon<'n>,
    /// A runtime like containerd.
    pub runtime: Runtime<'n>,
}

impl<'n> Plexus<'n> {
    /// Starts it with the usual configuration.
    pub fn start(node: &'n Node) -> Self {
        Self::configured(node, json!({}))
    }

    /// Starts it with `keys` over the usual ones of its configuration file.
    pub fn configured(node: &'n Node, keys: Value) -> Self {
        node.plugin(MAIN, &attaches());
        let manifests = Manifests::new(node.scratch().join("manifests"));
        let default = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": MAIN}]});
        let config = with_keys(
            json!({"clusterNetwork": write(node, "default.conflist", &default)}),
            keys,
        );
        let daemon = Daemon::start(node, &config, manifests.dir());
        Self {
            node,
            manifests,
            config,
            daemon,
            runtime: runtime(node, json!({})),
        }
    }

    /// Writes the definition `default/NAME`, whose only plugin is a scripted one of the same name.
    pub fn network(&self, name: &str, script: &Script) {
        self.node.plugin(name, script);
        self.manifests
            .definition(name, &json!({"cniVersion": "1.0.0", "type": name}));
    }

    /// The same for each of these names, with plugins that make their interface and remove it.
    pub fn networks(&self, names: &[&str]) {
        for name in names {
            self.network(name, &attaches());
        }
    }

    /// The interface `eth0` of `pod`, in a sandbox of its name that is made now.
    pub fn target(&self, pod: &Pod) -> Target {
        target(&self.node.sandbox(&pod.name), pod)
    }

    /// The sandbox of a new pod that asks for `networks`; of none where that is empty.
    pub fn sandbox(&self, pod: &str, networks: &str) -> (Sandbox<'n>, Target) {
        let sandbox = self.node.sandbox(pod);
        let pod = if networks.is_empty() {
            Pod::new(pod)
        } else {
            Pod::new(pod).with_networks(networks)
        };
        let target = target(&sandbox, &pod);
        (sandbox, target)
    }

    /// The same, attached.
    #[track_caller]
    pub fn attached(&self, pod: &str, networks: &str) -> (Sandbox<'n>, Target) {
        let (sandbox, target) = self.sandbox(pod, networks);
        self.runtime.add(&target).result();
        (sandbox, target)
    }

    /// What the scripted plugins were asked: `verb plugin ifname` each.
    pub fn calls(&self) -> Vec<String> {
        self.node.calls().iter().map(Call::summary).collect()
    }

    /// The calls of one verb.
    pub fn calls_of(&self, verb: &str) -> Vec<Call> {
        self.node
            .calls()
            .into_iter()
            .filter(|call| call.verb == verb)
            .collect()
    }

    /// The network-status of a pod, where there is one.
    pub fn status(&self, pod: &Pod) -> Option<Value> {
        let file = format!("{}.{}.network-status.json", pod.namespace, pod.name);
        let text = fs::read(self.manifests.dir().join(file)).ok()?;
        Some(serde_json::from_slice(&text).expect("network-status is JSON"))
    }

    /// The names of the files in a directory of the daemon's state, in order.
    pub fn files(&self, dir: &str) -> Vec<String> {
        files(self.node, dir)
    }

    /// The containers that have a record, one name for each record.
    pub fn records(&self) -> Vec<String> {
        containers_in(self.node, "ledger")
    }

    /// Waits until the records are those of these containers.
    pub fn wait_records(&self, containers: &[&Target]) {
        wait_files(self.node, "ledger", containers);
    }

    /// Waits until the spool has the calls of these containers.
    pub fn wait_spool(&self, containers: &[&Target]) {
        wait_files(self.node, "spool", containers);
    }

    /// The only record.
    #[track_caller]
    pub fn record(&self) -> String {
        let path = self.record_path();
        self.node
            .run(|| fs::read_to_string(path).expect("a record can be read"))
    }

    /// Gives the only record another content.
    #[track_caller]
    pub fn write_record(&self, content: &str) {
        let path = self.record_path();
        self.node
            .run(|| fs::write(path, content).expect("a record can be written"));
    }

    #[track_caller]
    fn record_path(&self) -> PathBuf {
        let records = self.files("ledger");
        assert_eq!(records.len(), 1, "{records:?}");
        Path::new(STATE).join("ledger").join(&records[0])
    }

    /// That no trace is left of what was attached: no record, no status, no link in the sandbox, no process, and a DEL
    /// for each ADD that was tried.
    #[track_caller]
    pub fn assert_nothing_left(&self, sandbox: &Sandbox<'_>) {
        assert_eq!(self.files("ledger"), [""; 0], "records");
        let files = list(self.manifests.dir());
        let status = files
            .iter()
            .find(|file| file.ends_with("network-status.json"));
        assert_eq!(status, None, "network-status");
        let links: Vec<_> = sandbox.links().into_iter().map(|link| link.name).collect();
        assert_eq!(links, ["lo"], "links in the sandbox");
        assert_eq!(self.node.processes().len(), 1, "processes besides plexusd");
        let calls = self.node.calls();
        for (index, add) in calls
            .iter()
            .enumerate()
            .filter(|(_, call)| call.verb == "ADD")
        {
            let key = |call: &Call| {
                (
                    call.plugin.clone(),
                    call.env("CNI_CONTAINERID").to_owned(),
                    call.env("CNI_IFNAME").to_owned(),
                )
            };
            let deleted = calls[index..]
                .iter()
                .any(|call| call.verb == "DEL" && key(call) == key(add));
            assert!(
                deleted,
                "no DEL follows {} in {:?}",
                add.summary(),
                self.calls()
            );
        }
    }
}

/// Waits until the files in a directory of the daemon's state are those of these containers.
pub fn wait_files(node: &Node, dir: &str, containers: &[&Target]) {
    let mut wanted: Vec<_> = containers
        .iter()
        .map(|target| target.container.clone())
        .collect();
    wanted.sort();
    let changes = Changes::watch(node, &[&Path::new(STATE).join(dir)]);
    changes.until_none(|| Some(containers_in(node, dir)).filter(|found| *found != wanted));
}

fn containers_in(node: &Node, dir: &str) -> Vec<String> {
    let names = files(node, dir);
    names
        .iter()
        .map(|name| {
            name.split_once(':')
                .map_or(&**name, |(id, _)| id)
                .to_owned()
        })
        .collect()
}

fn files(node: &Node, dir: &str) -> Vec<String> {
    node.run(|| list(&Path::new(STATE).join(dir)))
}

/// A runtime that executes the shim, with `keys` over the usual ones of its configuration.
pub fn runtime(node: &Node, keys: Value) -> Runtime<'_> {
    runtime_of(node, Flavour::Containerd, keys)
}

/// The same as another runtime.
pub fn runtime_of(node: &Node, flavour: Flavour, keys: Value) -> Runtime<'_> {
    let config = json!({
        "cniVersion": "1.1.0",
        "name": "plexus",
        "type": "plexus",
        "capabilities": {"io.kubernetes.cri.pod-annotations": true, "portMappings": true, "cgroupPath": true},
    });
    Runtime::new(node, flavour, binary("plexus"), with_keys(config, keys))
}

/// What the runtime asks for `pod` in `sandbox`, with the interface `eth0`.
pub fn target(sandbox: &Sandbox<'_>, pod: &Pod) -> Target {
    Target::new(sandbox, "eth0", pod)
}

/// A plugin that makes its interface and removes it.
pub fn attaches() -> Script {
    Script::new()
        .on("ADD", [Step::Link("bridge".into())])
        .on("DEL", [Step::Unlink])
}

/// Writes a JSON file among the node's files; its path.
pub fn write(node: &Node, name: &str, value: &Value) -> PathBuf {
    let path = node.scratch().join(name);
    fs::create_dir_all(path.parent().expect("it is in a directory"))
        .expect("a directory can be made");
    fs::write(&path, value.to_string()).expect("a file can be written");
    path
}

/// The names of the files in a directory, in order; none where it is not there.
fn list(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// `value` with these keys set; null removes one.
pub fn with_keys(mut value: Value, keys: Value) -> Value {
    let (Value::Object(map), Value::Object(keys)) = (&mut value, keys) else {
        panic!("keys are an object's")
    };
    map.extend(keys);
    map.retain(|_, value| !value.is_null());
    value
}
