//! A node of a cluster on which Plexus runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plexus_apiserver::{ApiServer, AuditEntry};
use plexus_e2e::cluster::Namespace;
use plexus_e2e::plexus::{attaches, runtime, with_keys, write};
use plexus_e2e::{Answer, Call, Changes, Cluster, Daemon, Node, Pod, Runtime, Target};
use serde_json::{Value, json};

pub use plexus_e2e::plexus::MAIN;

/// The resource of definitions.
pub const DEFINITIONS: &str = "network-attachment-definitions";
/// The user that plexusd is to the server in memory.
pub const USER: &str = "plexusd";
/// What a daemon knows of definitions from its predecessor.
pub const SNAPSHOT: &str = "/var/lib/plexus/definitions.json";
/// Long enough for whatever should happen.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A node of a cluster, with plexusd.
pub struct Bench<'n> {
    pub node: &'n Node,
    cluster: &'n Cluster,
    pub namespace: Namespace<'n>,
    /// The node's name in the cluster.
    pub name: String,
    pub config: Value,
    pub kubeconfig: PathBuf,
    pub daemon: Daemon<'n>,
    /// A runtime that passes the pod's annotations with the call.
    pub containerd: Runtime<'n>,
    /// One that does not.
    pub older: Runtime<'n>,
}

/// The cluster's server in memory, or the test is skipped: what it looks at, a real one does not show or do.
#[macro_export]
macro_rules! server {
    ($cluster:expr) => {
        match $cluster.server() {
            Some(server) => server,
            None => plexus_e2e::skip!("needs the faults and the audit of the API server in memory"),
        }
    };
}

impl<'n> Bench<'n> {
    /// With a running daemon.
    pub fn start(node: &'n Node, cluster: &'n Cluster) -> Self {
        Self::configured(node, cluster, &json!({}))
    }

    /// The same with `keys` over the usual ones of the daemon's configuration.
    pub fn configured(node: &'n Node, cluster: &'n Cluster, keys: &Value) -> Self {
        let mut bench = Self::new(node, cluster, keys);
        bench.daemon.restart();
        bench
    }

    /// With a daemon that does not run yet.
    pub fn new(node: &'n Node, cluster: &'n Cluster, keys: &Value) -> Self {
        node.plugin(MAIN, &attaches());
        let default = write(
            node,
            "default.conf",
            &json!({"cniVersion": "1.0.0", "name": "pods", "type": MAIN}),
        );
        let config =
            json!({"binDir": node.bin_dir(), "clusterNetwork": default, "lookupWait": "15s"});
        let config = with_keys(config, keys.clone());
        let kubeconfig = cluster.kubeconfig(node);
        if let Some(server) = cluster.server() {
            replace(&kubeconfig, &server.token("admin"), &server.token(USER));
        }
        let name = Cluster::made_up_node();
        let daemon = Daemon::of_cluster(node, &config, &kubeconfig, &name);
        let (containerd, older) = (
            runtime(node, json!({})),
            runtime(node, json!({"capabilities": null})),
        );
        Self {
            node,
            cluster,
            namespace: cluster.namespace(),
            name,
            config,
            kubeconfig,
            daemon,
            containerd,
            older,
        }
    }

    /// Makes a definition whose plugin is a scripted one of that name.
    pub fn define(&self, name: &str) {
        self.node.plugin(name, &attaches());
        self.namespace
            .definition(name, &json!({"cniVersion": "1.0.0", "type": name}));
    }

    /// A definition of this namespace, for the server itself.
    pub fn definition(&self, name: &str, config: &Value) -> Value {
        json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": self.namespace.name()},
            "spec": {"config": config},
        })
    }

    /// Makes a pod on this node; its UID is the server's.
    pub fn pod(&self, pod: &Pod) -> Pod {
        self.namespace.pod(pod, &self.name)
    }

    /// A pod of this namespace that the cluster does not have.
    pub fn unknown_pod(&self, pod: Pod) -> Pod {
        Pod {
            namespace: self.namespace.name().to_owned(),
            ..pod
        }
    }

    /// ADD of `pod` in a sandbox of its own, and what the plugins were asked for it.
    pub fn add(&self, runtime: &Runtime<'n>, pod: &Pod) -> (Answer, Vec<String>) {
        self.call("ADD", runtime, pod)
    }

    /// DEL of `pod` in a sandbox of its own, which was never added, and what the plugins were asked for it.
    pub fn del(&self, runtime: &Runtime<'n>, pod: &Pod) -> (Answer, Vec<String>) {
        self.call("DEL", runtime, pod)
    }

    fn call(&self, verb: &str, runtime: &Runtime<'n>, pod: &Pod) -> (Answer, Vec<String>) {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let sandbox = self.node.sandbox(&format!("{}-{verb}-{call}", pod.name));
        let answer = runtime
            .start(verb, &Target::new(&sandbox, "eth0", pod))
            .wait();
        let calls = self.node.calls();
        let ours = calls
            .iter()
            .filter(|call| call.env("CNI_CONTAINERID") == sandbox.id());
        (answer, ours.map(Call::summary).collect())
    }

    /// What plexusd has asked the server in memory so far; of a real one nothing is known.
    pub fn requests(&self) -> Vec<AuditEntry> {
        let entries = self
            .cluster
            .server()
            .map(ApiServer::audit)
            .unwrap_or_default();
        entries
            .into_iter()
            .filter(|entry| entry.user == USER)
            .collect()
    }

    /// How many requests of this verb for this resource there were.
    pub fn count(&self, verb: &str, resource: &str) -> usize {
        self.requests()
            .iter()
            .filter(|entry| entry.matches(verb, resource))
            .count()
    }

    /// What of it read something, the watches left out.
    pub fn reads(&self) -> Vec<String> {
        let reads = self
            .requests()
            .into_iter()
            .filter(|entry| ["get", "list"].contains(&entry.verb.as_str()));
        reads.map(|entry| entry.summary()).collect()
    }

    /// Waits until the snapshot of the definitions has this one.
    pub fn wait_snapshot(&self, name: &str) {
        let changes = Changes::watch(self.node, &[Path::new("/var/lib/plexus")]);
        changes.until_none(|| {
            let text = self
                .node
                .run(|| fs::read_to_string(SNAPSHOT))
                .unwrap_or_default();
            (!text.contains(&format!("{name:?}")))
                .then(|| format!("the snapshot has no {name}: {text}"))
        });
    }

    /// Waits until both watches run, where that can be seen.
    pub fn wait_watches(&self) {
        let Some(server) = self.cluster.server() else {
            return;
        };
        for resource in ["pods", DEFINITIONS] {
            server.wait(PATIENCE, |entries| {
                let watches = entries
                    .iter()
                    .filter(|one| one.user == USER && one.matches("watch", resource));
                watches
                    .into_iter()
                    .any(|one| one.code == Some(200) && one.finished.is_none())
            });
        }
    }

    /// Stops the server in memory, and waits until no watch is left.
    pub fn stop_server(&self) {
        let server = self.cluster.server().expect("it is in memory");
        server.stop();
        let watches = |entry: &&AuditEntry| entry.verb == "watch" && entry.user == USER;
        server.wait(PATIENCE, |entries| {
            entries
                .iter()
                .filter(watches)
                .all(|one| one.finished.is_some())
        });
    }

    /// Host and port of the API server, for who is on the node.
    pub fn address(&self) -> (String, String) {
        let text = fs::read_to_string(&self.kubeconfig).expect("it can be read");
        let (_, rest) = text.split_once("https://").expect("an address");
        let end = rest
            .find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (host, port) = rest[..end].split_once(':').expect("a port");
        (host.to_owned(), port.to_owned())
    }

    /// Ends the token of plexusd, and writes another one into its kubeconfig.
    pub fn rotate_token(&self) {
        let server = self.cluster.server().expect("it is in memory");
        let old = server.token(USER);
        server.revoke_token(&old);
        replace(&self.kubeconfig, &old, &server.token(USER));
    }
}

/// Replaces a text in a file.
fn replace(file: &PathBuf, old: &str, new: &str) {
    let text = fs::read_to_string(file).expect("it can be read");
    assert!(text.contains(old));
    fs::write(file, text.replace(old, new)).expect("it can be written");
}
