//! A cluster, and a node of it on which Plexus runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plexus_e2e::apiserver::Entry;
use plexus_e2e::binaries::binary;
use plexus_e2e::{Answer, ApiServer, Call, Changes, Daemon, Flavour, Node, Pod, Runtime, Script, Step, Target};
use serde_json::{Value, json};

/// The node's name.
pub const NODE: &str = "node-1";
/// The plugin of the default network.
pub const MAIN: &str = "main";
/// The resource of definitions.
pub const DEFINITIONS: &str = "network-attachment-definitions";
/// What a daemon knows of definitions from its predecessor.
pub const SNAPSHOT: &str = "/var/lib/plexus/definitions.json";
/// Long enough for whatever should happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster whose node runs Plexus.
pub struct Bench<'n> {
    pub node: &'n Node,
    pub server: ApiServer,
    pub config: Value,
    pub kubeconfig: PathBuf,
    pub daemon: Daemon<'n>,
    /// A runtime that passes the pod's annotations with the call.
    pub containerd: Runtime<'n>,
    /// One that does not.
    pub older: Runtime<'n>,
}

impl<'n> Bench<'n> {
    /// With a running daemon.
    pub fn start(node: &'n Node) -> Self {
        Self::configured(node, &json!({}))
    }

    /// The same with `keys` over the usual ones of the daemon's configuration.
    pub fn configured(node: &'n Node, keys: &Value) -> Self {
        let mut bench = Self::new(node, keys);
        bench.define_kind();
        bench.daemon.restart();
        bench
    }

    /// With a daemon that does not run yet, and a cluster without the kind of definitions.
    pub fn new(node: &'n Node, keys: &Value) -> Self {
        node.plugin(MAIN, &attaches());
        let default = node.scratch().join("default.conf");
        let text = json!({"cniVersion": "1.0.0", "name": "pods", "type": MAIN});
        fs::write(&default, text.to_string()).expect("it can be written");
        let mut config = json!({"binDir": node.bin_dir(), "clusterNetwork": default, "lookupWait": "15s"});
        for (key, value) in keys.as_object().expect("an object") {
            config[key] = value.clone();
        }
        let server = ApiServer::start_in(node);
        let kubeconfig = server.kubeconfig(node.scratch(), "plexusd");
        let daemon = Daemon::of_cluster(node, &config, &kubeconfig, NODE);
        let runtime = |config: Value| Runtime::new(node, Flavour::Containerd, binary("plexus"), config);
        let plain = json!({"cniVersion": "1.1.0", "name": "plexus", "type": "plexus"});
        let mut capable = plain.clone();
        capable["capabilities"] = json!({"io.kubernetes.cri.pod-annotations": true});
        Self { node, server, config, kubeconfig, daemon, containerd: runtime(capable), older: runtime(plain) }
    }

    /// Installs the kind of definitions.
    pub fn define_kind(&self) {
        self.server.create(&json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{DEFINITIONS}.k8s.cni.cncf.io")},
            "spec": {
                "group": "k8s.cni.cncf.io", "scope": "Namespaced",
                "names": {
                    "plural": DEFINITIONS, "singular": "network-attachment-definition",
                    "kind": "NetworkAttachmentDefinition", "shortNames": ["net-attach-def"],
                },
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }}}],
            },
        }));
    }

    /// Creates the definition `default/NAME`, whose plugin is a scripted one of that name.
    pub fn define(&self, name: &str) {
        self.node.plugin(name, &attaches());
        self.server.apply(&definition(name, &json!({"cniVersion": "1.0.0", "type": name}).to_string()));
    }

    /// Creates a pod on this node; its UID is the server's.
    pub fn pod(&self, pod: Pod) -> Pod {
        let created = self.server.create(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "annotations": pod.annotations},
            "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "i"}]},
        }));
        let uid = created["metadata"]["uid"].as_str().expect("a UID").to_owned();
        Pod { uid, ..pod }
    }

    /// Deletes a pod.
    pub fn delete_pod(&self, pod: &Pod) {
        assert!(self.server.delete("pods", &pod.namespace, &pod.name));
    }

    /// ADD of `pod` in a sandbox of its own; what the plugins were asked for it.
    pub fn add(&self, runtime: &Runtime<'n>, pod: &Pod) -> (Answer, Vec<String>) {
        self.call("ADD", runtime, pod)
    }

    /// DEL of `pod` in a sandbox of its own, which was never added; what the plugins were asked for it.
    pub fn del(&self, runtime: &Runtime<'n>, pod: &Pod) -> (Answer, Vec<String>) {
        self.call("DEL", runtime, pod)
    }

    fn call(&self, verb: &str, runtime: &Runtime<'n>, pod: &Pod) -> (Answer, Vec<String>) {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let sandbox = self.node.sandbox(&format!("{}-{verb}-{call}", pod.name));
        let answer = runtime.start(verb, &Target::new(&sandbox, "eth0", pod)).wait();
        let calls = self.node.calls();
        let ours = calls.iter().filter(|call| call.env("CNI_CONTAINERID") == sandbox.id());
        (answer, ours.map(Call::summary).collect())
    }

    /// Requests that read something, the watches left out.
    pub fn reads(&self) -> Vec<String> {
        let entries = self.server.audit();
        let reads = entries.iter().filter(|entry| ["get", "list"].contains(&entry.verb.as_str()));
        reads.map(Entry::summary).collect()
    }

    /// Stops the API server, and waits until no watch is left.
    pub fn stop_server(&self) {
        self.server.stop();
        let watches = |entry: &&Entry| entry.verb == "watch";
        self.server.wait(PATIENCE, |entries| entries.iter().filter(watches).all(|one| one.finished.is_some()));
    }

    /// Waits until the snapshot has the definition `default/NAME`.
    pub fn wait_snapshot(&self, name: &str) {
        let changes = Changes::watch(self.node, &[Path::new("/var/lib/plexus")]);
        changes.until_none(|| {
            let text = self.node.run(|| fs::read_to_string(SNAPSHOT)).unwrap_or_default();
            (!text.contains(&format!("{name:?}"))).then(|| format!("the snapshot has no {name}: {text}"))
        });
    }

    /// Waits until both watches run.
    pub fn wait_watches(&self) {
        for resource in ["pods", DEFINITIONS] {
            self.server.wait(PATIENCE, |entries| {
                entries.iter().any(|one| one.is("watch", resource) && one.code == Some(200) && one.finished.is_none())
            });
        }
    }
}

/// A definition in the namespace `default`.
pub fn definition(name: &str, config: &str) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"config": config},
    })
}

/// A plugin that makes its interface and removes it.
fn attaches() -> Script {
    Script::new().on("ADD", [Step::Link("bridge".into())]).on("DEL", [Step::Unlink])
}
