//! A node on which Plexus runs: the daemon, a cluster of files, and a default network by a scripted plugin.

use std::fs;
use std::path::{Path, PathBuf};

use plexus_e2e::binaries::binary;
use plexus_e2e::{Call, Daemon, Flavour, Manifests, Node, Pod, Runtime, Sandbox, Script, Step, Target};
use serde_json::{Value, json};

use crate::watch::Watch;

/// The plugin of the default network `pods`.
pub const MAIN: &str = "main";

/// Where the ledger is, on the node.
pub const LEDGER: &str = "/var/lib/plexus/ledger";

/// Plexus at work on a node.
pub struct Plexus<'n> {
    pub node: &'n Node,
    pub manifests: Manifests,
    pub daemon: Daemon<'n>,
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
        let mut config = json!({"clusterNetwork": write(node, "default.conflist", &default)});
        merge(&mut config, keys);
        let daemon = Daemon::start(node, &config, manifests.dir());
        Self { node, manifests, daemon, runtime: runtime(node, json!({})) }
    }

    /// Writes the definition `default/NAME`, whose only plugin is a scripted one of the same name.
    pub fn network(&self, name: &str, script: &Script) {
        self.node.plugin(name, script);
        self.manifests.definition(name, &json!({"cniVersion": "1.0.0", "type": name}));
    }

    /// What the scripted plugins were asked: `verb plugin ifname` each.
    pub fn calls(&self) -> Vec<String> {
        self.node.calls().iter().map(Call::summary).collect()
    }

    /// The calls of one verb.
    pub fn calls_of(&self, verb: &str) -> Vec<Call> {
        self.node.calls().into_iter().filter(|call| call.verb == verb).collect()
    }

    /// The network-status of a pod, where there is one.
    pub fn status(&self, pod: &Pod) -> Option<Value> {
        let file = format!("{}.{}.network-status.json", pod.namespace, pod.name);
        let text = fs::read(self.manifests.dir().join(file)).ok()?;
        Some(serde_json::from_slice(&text).expect("network-status is JSON"))
    }

    /// The files of the ledger.
    pub fn records(&self) -> Vec<PathBuf> {
        self.node.run(|| list(Path::new(LEDGER)))
    }

    /// Watches for a network-status to be written.
    pub fn watch_status(&self) -> Watch {
        Watch::arrival(self.node, self.manifests.dir(), ".network-status.json")
    }

    /// Watches for a record to go.
    pub fn watch_records(&self) -> Watch {
        Watch::removal(self.node, Path::new(LEDGER), ".jsonl")
    }

    /// The only record.
    #[track_caller]
    pub fn record(&self) -> String {
        let records = self.records();
        assert_eq!(records.len(), 1, "{records:?}");
        self.node.run(|| fs::read_to_string(&records[0]).expect("a record can be read"))
    }

    /// Gives the only record another content.
    pub fn write_record(&self, content: &str) {
        let records = self.records();
        assert_eq!(records.len(), 1, "{records:?}");
        self.node.run(|| fs::write(&records[0], content).expect("a record can be written"));
    }

    /// That no trace is left of what was attached: no record, no status, no link in the sandbox, no process, and a DEL
    /// for each ADD that was tried.
    #[track_caller]
    pub fn assert_nothing_left(&self, sandbox: &Sandbox<'_>) {
        assert_eq!(self.records(), Vec::<PathBuf>::new(), "records");
        let files = list(self.manifests.dir());
        let status = files.iter().find(|file| file.to_string_lossy().ends_with("network-status.json"));
        assert_eq!(status, None, "network-status");
        let links: Vec<_> = sandbox.links().into_iter().map(|link| link.name).collect();
        assert_eq!(links, ["lo"], "links in the sandbox");
        assert_eq!(self.node.processes().len(), 1, "processes besides plexusd");
        let calls = self.node.calls();
        for (index, add) in calls.iter().enumerate().filter(|(_, call)| call.verb == "ADD") {
            let key = |call: &Call| {
                (call.plugin.clone(), call.env("CNI_CONTAINERID").to_owned(), call.env("CNI_IFNAME").to_owned())
            };
            let deleted = calls[index..].iter().any(|call| call.verb == "DEL" && key(call) == key(add));
            assert!(deleted, "no DEL follows {} in {:?}", add.summary(), self.calls());
        }
    }
}

/// A runtime that executes the shim, with `keys` over the usual ones of its configuration.
pub fn runtime(node: &Node, keys: Value) -> Runtime<'_> {
    runtime_of(node, Flavour::Containerd, keys)
}

/// The same as another runtime.
pub fn runtime_of(node: &Node, flavour: Flavour, keys: Value) -> Runtime<'_> {
    let mut config = json!({
        "cniVersion": "1.1.0",
        "name": "plexus",
        "type": "plexus",
        "capabilities": {"io.kubernetes.cri.pod-annotations": true, "portMappings": true, "cgroupPath": true},
    });
    merge(&mut config, keys);
    Runtime::new(node, flavour, binary("plexus"), config)
}

/// What the runtime asks for `pod` in `sandbox`, with the interface `eth0`.
pub fn target(sandbox: &Sandbox<'_>, pod: &Pod) -> Target {
    Target::new(sandbox, "eth0", pod)
}

/// A plugin that makes its interface and removes it.
pub fn attaches() -> Script {
    Script::new().on("ADD", [Step::Link("bridge".into())]).on("DEL", [Step::Unlink])
}

/// Writes a JSON file among the node's files; its path.
pub fn write(node: &Node, name: &str, value: &Value) -> PathBuf {
    let path = node.scratch().join(name);
    fs::create_dir_all(path.parent().expect("it is in a directory")).expect("a directory can be made");
    fs::write(&path, value.to_string()).expect("a file can be written");
    path
}

/// The files in a directory; none where it is not there.
fn list(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// Sets the keys of `over` in `value`; null removes one.
fn merge(value: &mut Value, over: Value) {
    let Value::Object(over) = over else { panic!("keys are an object") };
    for (key, over) in over {
        value[&key] = over;
    }
    if let Value::Object(map) = value {
        map.retain(|_, value| !value.is_null());
    }
}
