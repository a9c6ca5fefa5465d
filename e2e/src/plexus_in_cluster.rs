//! Plexus on a node of a cluster.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plexus_apiserver::{ApiServer, AuditEntry};
use serde_json::{Value, json};

use crate::cluster::Namespace;
use crate::daemon::Source;
use crate::{
    Cluster, CniOutput, Flavour, Node, NodeWatch, Plexus, PlexusBuilder, PluginCall, Pod, Runtime,
    attaches,
};

/// The resource of network attachment definitions.
pub const DEFINITIONS: &str = "network-attachment-definitions";
/// The user of the daemon at the server in memory.
pub const USER: &str = "plexusd";
/// The definitions that the daemon keeps for the next one.
pub const SNAPSHOT: &str = "/var/lib/plexus/definitions.json";
/// How long the daemon may take for its requests.
pub const TIMEOUT: Duration = Duration::from_secs(40);

/// Plexus on a node of a cluster.
#[derive(Debug)]
pub struct PlexusInCluster<'n> {
    plexus: Plexus<'n>,
    pub cluster: &'n Cluster,
    pub namespace: Namespace<'n>,
    /// The name of the node in the cluster.
    pub node_name: String,
    pub kubeconfig: PathBuf,
    /// A runtime that does not pass the pod's annotations.
    pub plain_runtime: Runtime<'n>,
}

impl<'n> Deref for PlexusInCluster<'n> {
    type Target = Plexus<'n>;

    fn deref(&self) -> &Self::Target {
        &self.plexus
    }
}

impl DerefMut for PlexusInCluster<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.plexus
    }
}

/// Evaluates to the server in memory, or skips the test if the cluster is a real one.
#[macro_export]
macro_rules! server {
    ($cluster:expr) => {
        match $cluster.server() {
            Some(server) => server,
            None => $crate::skip!("needs the faults and the audit of the API server in memory"),
        }
    };
}

impl<'n> PlexusInCluster<'n> {
    /// Starts Plexus with the usual settings.
    pub fn start(node: &'n Node, cluster: &'n Cluster) -> Self {
        Self::start_with(node, cluster, json!({}))
    }

    /// Starts Plexus with `keys` merged into the usual configuration of the daemon.
    pub fn start_with(node: &'n Node, cluster: &'n Cluster, keys: Value) -> Self {
        let mut plexus = Self::build(Self::on(node).config(keys), cluster);
        plexus.daemon.restart();
        plexus
    }

    /// Begins to set up Plexus with the usual settings.
    pub fn on(node: &'n Node) -> PlexusBuilder<'n> {
        // Longer than anything takes on a slow machine.
        Plexus::on(node).config(json!({"binDir": node.bin_dir(), "lookupWait": "15s"}))
    }

    /// Completes the set-up of `builder`. The daemon is not running.
    pub fn build(builder: PlexusBuilder<'n>, cluster: &'n Cluster) -> Self {
        let node = builder.node();
        let kubeconfig = cluster.kubeconfig(node);
        if let Some(server) = cluster.server() {
            replace(&kubeconfig, &server.token("admin"), &server.token(USER));
        }
        let node_name = Cluster::random_node_name();
        let source = Source::Kubeconfig {
            path: kubeconfig.clone(),
            node_name: node_name.clone(),
        };
        let no_capabilities = json!({"capabilities": null});
        Self {
            plexus: builder.source(source).build(),
            cluster,
            namespace: cluster.namespace(),
            node_name,
            kubeconfig,
            plain_runtime: Runtime::of_shim(node, Flavour::Containerd, no_capabilities),
        }
    }

    /// Creates a definition with a scripted plugin of the same name.
    pub fn define(&self, name: &str) {
        self.node.plugin(name, &attaches());
        self.namespace
            .definition(name, &json!({"cniVersion": "1.0.0", "type": name}));
    }

    /// The object of a definition of this namespace.
    pub fn definition(&self, name: &str, config: &Value) -> Value {
        json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": self.namespace.name()},
            "spec": {"config": config},
        })
    }

    /// Creates a pod on this node. Returns the pod with the UID of the API server.
    pub fn pod(&self, pod: &Pod) -> Pod {
        self.namespace.pod(pod, &self.node_name)
    }

    /// A pod of this namespace that does not exist in the cluster.
    pub fn unknown_pod(&self, pod: Pod) -> Pod {
        pod.in_namespace(self.namespace.name())
    }

    /// ADD of `pod` in a new sandbox. Returns the plugin calls for that sandbox as well.
    pub fn add(&self, runtime: &Runtime<'n>, pod: &Pod) -> (CniOutput, Vec<String>) {
        self.call("ADD", runtime, pod)
    }

    /// DEL of `pod` in a new sandbox for which there was no ADD. Returns the plugin calls for that
    /// sandbox as well.
    pub fn del(&self, runtime: &Runtime<'n>, pod: &Pod) -> (CniOutput, Vec<String>) {
        self.call("DEL", runtime, pod)
    }

    fn call(&self, operation: &str, runtime: &Runtime<'n>, pod: &Pod) -> (CniOutput, Vec<String>) {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let number = CALLS.fetch_add(1, Ordering::Relaxed);
        let sandbox = self
            .node
            .sandbox(&format!("{}-{operation}-{number}", pod.name));
        let output = runtime.start(operation, &sandbox.target(pod)).wait();
        let calls = self.node.calls_for(sandbox.id());
        (output, calls.iter().map(PluginCall::summary).collect())
    }

    /// The requests of the daemon so far. Empty with a real cluster.
    pub fn requests(&self) -> Vec<AuditEntry> {
        let mut entries = self
            .cluster
            .server()
            .map(ApiServer::audit)
            .unwrap_or_default();
        entries.retain(|entry| entry.user == USER);
        entries
    }

    /// The number of requests with this verb for this resource.
    pub fn count(&self, verb: &str, resource: &str) -> usize {
        self.requests()
            .iter()
            .filter(|entry| entry.matches(verb, resource))
            .count()
    }

    /// The requests that read something, except watches.
    pub fn reads(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .filter(|entry| ["get", "list"].contains(&entry.verb.as_str()))
            .map(|entry| entry.summary())
            .collect()
    }

    /// Waits until the snapshot of the definitions contains this one.
    pub fn wait_snapshot(&self, name: &str) {
        NodeWatch::new(self.node, &[Path::new("/var/lib/plexus")]).wait_while(|| {
            let text = self.node.try_read(SNAPSHOT).unwrap_or_default();
            (!text.contains(&format!("{name:?}"))).then_some(text)
        });
    }

    /// Waits until both watches are established. Does nothing with a real cluster.
    pub fn wait_watches(&self) {
        let Some(server) = self.cluster.server() else {
            return;
        };
        for resource in ["pods", DEFINITIONS] {
            server.wait(TIMEOUT, |entries| {
                entries.iter().any(|entry| {
                    entry.user == USER
                        && entry.matches("watch", resource)
                        && entry.code == Some(200)
                        && entry.finished.is_none()
                })
            });
        }
    }

    /// Stops the server in memory and waits until all watches of the daemon have ended.
    pub fn stop_server(&self) {
        let server = self.cluster.server().expect("the server in memory");
        server.stop();
        server.wait(TIMEOUT, |entries| {
            entries
                .iter()
                .filter(|entry| entry.verb == "watch" && entry.user == USER)
                .all(|entry| entry.finished.is_some())
        });
    }

    /// Host and port of the API server for programs on the node.
    pub fn address(&self) -> (String, String) {
        let text = fs::read_to_string(&self.kubeconfig).expect("read the kubeconfig");
        let (_, rest) = text.split_once("https://").expect("an address");
        let end = rest
            .find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (host, port) = rest[..end].split_once(':').expect("a port");
        (host.to_owned(), port.to_owned())
    }

    /// Revokes the token of the daemon and writes a new one to its kubeconfig.
    pub fn rotate_token(&self) {
        let server = self.cluster.server().expect("the server in memory");
        let old = server.token(USER);
        server.revoke_token(&old);
        replace(&self.kubeconfig, &old, &server.token(USER));
    }
}

/// Replaces a text in a file.
fn replace(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).expect("read the file");
    assert!(text.contains(old));
    fs::write(file, text.replace(old, new)).expect("write the file");
}
