//! A Kubernetes API server in memory.
//!
//! It speaks HTTP/1.1 over TLS as kube-apiserver does, to any client: what it answers follows Kubernetes, down to the
//! words of its errors. It has no controllers but what a test of a node's daemon needs: a namespace takes its objects
//! with it, and a definition its custom objects.
//!
//! What it does not have: validation against schemas, protobuf, server-side apply, lists in strategic merge patches,
//! tables for `kubectl`, schemas of the API.

mod access;
mod answer;
mod audit;
mod client;
mod crd;
mod discovery;
mod events;
mod faults;
mod kinds;
mod kubeconfig;
mod list;
mod negotiate;
mod object;
mod patch;
mod path;
mod refusal;
mod resource;
mod selector;
mod serve;
mod shared;
mod store;
mod strategy;
mod target;
mod tls;
mod watch;
mod write;

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::{self, Runtime};
use tokio_rustls::rustls::ServerConfig;

pub use access::Rule;
pub use audit::Entry;
pub use client::{Answered, Client, Line, Lines};
pub use crd::network_attachment_definition_crd;
pub use faults::{Effect, Fault, FaultId};
pub use kubeconfig::Kubeconfig;
pub use path::Path as RequestPath;
pub use refusal::Refusal;

use serve::Link;
use shared::Shared;
use target::Target;

/// A running server. It ends when this is dropped.
pub struct ApiServer {
    shared: Arc<Shared>,
    ca: String,
    tls: Arc<ServerConfig>,
    runtime: Option<Runtime>,
    accepting: Mutex<Vec<JoinHandle<()>>>,
}

impl ApiServer {
    /// Starts one on the loopback of the network namespace that this thread is in.
    pub fn start() -> Self {
        Self::on(listener().expect("a port of the loopback can be had"))
    }

    /// Starts one on `listener`, wherever that was made; [`listener`] makes one whose port survives [`stop`](Self::stop).
    pub fn on(listener: TcpListener) -> Self {
        let shared = Arc::new(Shared::new(
            listener.local_addr().expect("a listener has an address"),
        ));
        let (tls, ca) = tls::identity();
        let mut runtime = runtime::Builder::new_multi_thread();
        let runtime = runtime
            .worker_threads(1)
            .thread_name("api server")
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime can be made");
        let server = Self {
            shared,
            ca,
            tls,
            runtime: Some(runtime),
            accepting: Mutex::default(),
        };
        server.listen(listener);
        for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            server.create(
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            );
        }
        server
    }

    /// Serves on one more socket, such as one on the loopback of a node.
    pub fn listen(&self, listener: TcpListener) -> SocketAddr {
        let address = listener.local_addr().expect("a listener has an address");
        listener
            .set_nonblocking(false)
            .expect("a socket can be told to wait");
        self.shared
            .listen(&listener)
            .expect("a socket can be shared");
        let (tls, shared) = (self.tls.clone(), self.shared.clone());
        let handle = self
            .runtime
            .as_ref()
            .expect("it runs until it is dropped")
            .handle()
            .clone();
        let thread = thread::spawn(move || serve::serve(&listener, tls, &shared, &handle));
        self.accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
        address
    }

    /// Where it listens first: `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// The address of [`url`](Self::url).
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The certificate of the authority that signed the server's.
    pub fn ca_pem(&self) -> &str {
        &self.ca
    }

    // Users.

    /// A token of this user, always the same until it is revoked or another is issued. Whoever is not
    /// [restricted](Self::restrict) may do everything.
    pub fn token(&self, user: &str) -> String {
        self.shared.access().token(user)
    }

    /// A new token of this user; older ones stay valid until they are [revoked](Self::revoke).
    pub fn new_token(&self, user: &str) -> String {
        self.shared.access().issue(user)
    }

    /// Ends a token.
    pub fn revoke(&self, token: &str) {
        self.shared.access().revoke(token);
    }

    /// From now on this user may do what these rules allow, and nothing else. The rules of a `ClusterRole` can be read
    /// with serde.
    pub fn restrict(&self, user: &str, rules: Vec<Rule>) {
        self.shared.access().restrict(user, rules);
    }

    /// What a client needs to be this user.
    pub fn credentials(&self, user: &str) -> Kubeconfig {
        Kubeconfig {
            server: self.url(),
            server_name: None,
            ca: self.ca.clone().into(),
            token: Some(self.token(user)),
            identity: None,
        }
    }

    /// Writes a kubeconfig for this user into `dir`.
    pub fn kubeconfig(&self, dir: &Path, user: &str) -> PathBuf {
        self.credentials(user).write(dir)
    }

    /// Writes what a pod finds in `/var/run/secrets/kubernetes.io/serviceaccount` into `dir`, which is made; once more
    /// to rotate the token.
    pub fn service_account_dir(&self, dir: &Path, user: &str, namespace: &str) {
        fs::create_dir_all(dir).expect("the directory can be made");
        for (file, text) in [
            ("ca.crt", self.ca.as_str()),
            ("namespace", namespace),
            ("token", &self.token(user)),
        ] {
            // Who reads the file never sees half of it.
            let temporary = dir.join(format!(".{file}.new"));
            let written =
                fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, dir.join(file)));
            written.expect("a file can be written");
        }
    }

    /// The environment by which a pod finds the server.
    pub fn service_env(&self) -> [(&'static str, String); 2] {
        let address = self.address();
        [
            ("KUBERNETES_SERVICE_HOST", address.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT", address.port().to_string()),
        ]
    }

    // Objects, past the network, the tokens, the faults and the audit. A resource is named `pods` or
    // `network-attachment-definitions.k8s.cni.cncf.io`; the namespace is empty for what has none.

    /// Creates an object. Panics where the server refuses.
    pub fn create(&self, object: &Value) -> Value {
        self.try_create(object)
            .unwrap_or_else(|refusal| panic!("{refusal}: {object}"))
    }

    /// Creates an object.
    pub fn try_create(&self, object: &Value) -> Result<Value, Refusal> {
        let mut store = self.shared.store();
        let target = self::target_of(&store, object)?;
        let created = write::create(&mut store, &target, object.clone())?;
        Ok(target.outward(&created))
    }

    /// Creates an object, or merges it into the one that is there; its status too.
    pub fn apply(&self, object: &Value) -> Value {
        let applied = (|| {
            let mut store = self.shared.store();
            let mut target = self::target_of(&store, object)?;
            if store.get(&target.storage(), &target.key()).is_none() {
                write::create(&mut store, &target, object.clone())?;
            }
            let (patch, merge) = (object.to_string(), "application/merge-patch+json");
            let mut applied = write::patch(&mut store, &target, merge, patch.as_bytes())?;
            if target.kind.status && object.get("status").is_some() {
                target.subresource = "status".into();
                applied = write::patch(&mut store, &target, merge, patch.as_bytes())?;
            }
            Ok(target.outward(&applied))
        })();
        applied.unwrap_or_else(|refusal: Refusal| panic!("{refusal}: {object}"))
    }

    /// Merges `patch` into an object; the resource may be `pods/status`.
    pub fn patch(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, Refusal> {
        let mut store = self.shared.store();
        let target = target_named(&store, resource, namespace, name);
        let patched = write::patch(
            &mut store,
            &target,
            "application/merge-patch+json",
            patch.to_string().as_bytes(),
        )?;
        Ok(target.outward(&patched))
    }

    /// Deletes an object at once, without a grace period. Whether it was there.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) -> bool {
        let mut store = self.shared.store();
        let target = target_named(&store, resource, namespace, name);
        write::delete(&mut store, &target, &json!({"gracePeriodSeconds": 0})).is_ok()
    }

    /// An object.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let store = self.shared.store();
        let target = target_named(&store, resource, namespace, name);
        store
            .get(&target.storage(), &target.key())
            .map(|object| target.outward(object))
    }

    /// All objects of a resource, in all namespaces.
    pub fn list(&self, resource: &str) -> Vec<Value> {
        let store = self.shared.store();
        let target = target_named(&store, resource, "", "");
        store
            .table(&target.storage())
            .values()
            .map(|object| target.outward(object))
            .collect()
    }

    // What happened.

    /// Every request that came, in order. What the methods of this type do is not among them.
    pub fn audit(&self) -> Vec<Entry> {
        self.shared.audit.entries()
    }

    /// How many requests of this verb for this resource came; `*` is any.
    pub fn count(&self, verb: &str, resource: &str) -> usize {
        self.audit()
            .iter()
            .filter(|entry| entry.is(verb, resource))
            .count()
    }

    /// Waits until the requests are as `enough` wants them, and gives them. Panics after `patience`.
    pub fn wait(&self, patience: Duration, enough: impl FnMut(&[Entry]) -> bool) -> Vec<Entry> {
        self.shared.audit.wait(patience, enough).unwrap_or_else(|| {
            let entries: Vec<_> = self
                .audit()
                .iter()
                .map(|entry| format!("{} {:?}", entry.uri, entry.code))
                .collect();
            panic!("the requests are not as they should be: {entries:#?}")
        })
    }

    /// How many watches of a resource run; `*` is any.
    pub fn watches(&self, resource: &str) -> usize {
        self.shared.watches_of(resource).len()
    }

    /// The newest resource version.
    pub fn resource_version(&self) -> u64 {
        self.shared.store().revision()
    }

    // What goes wrong.

    /// Turns a fault on.
    pub fn fault(&self, fault: Fault) -> FaultId {
        self.shared.faults.add(fault)
    }

    /// Turns a fault off.
    pub fn clear(&self, id: FaultId) {
        self.shared.faults.clear(Some(id));
    }

    /// Turns all faults off.
    pub fn clear_faults(&self) {
        self.shared.faults.clear(None);
    }

    /// Closes the connections of the watches of a resource that run; `*` is any.
    pub fn drop_watches(&self, resource: &str) {
        self.shared
            .watches_of(resource)
            .iter()
            .for_each(serve::Connection::cut);
    }

    /// Sends a bookmark now to every watch that wants any.
    pub fn bookmark(&self) {
        self.shared.nudges.send_modify(|count| *count += 1);
    }

    /// Forgets the past: every resource version that a client knows is too old from now on. Watches that run go on.
    pub fn compact(&self) {
        self.shared.store().compact();
    }

    /// The server goes away: connections are closed, and new ones refused. What it holds stays.
    pub fn stop(&self) {
        self.shared.set_link(Link::Down);
    }

    /// The network goes away: connections stay and can be made, but nothing comes through.
    pub fn partition(&self) {
        self.shared.set_link(Link::Silent);
    }

    /// Ends [`stop`](Self::stop) or [`partition`](Self::partition).
    pub fn resume(&self) {
        self.shared.set_link(Link::Up);
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.shared.set_link(Link::Ended);
        for thread in self
            .accepting
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            let _ = thread.join();
        }
        if let Some(runtime) = self.runtime.take() {
            // A test that is asynchronous itself may not wait here.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

/// A socket on the loopback of the network namespace that this thread is in.
///
/// Its port was asked for by number: one that the kernel chose would be given back when the socket stops listening.
pub fn listener() -> io::Result<TcpListener> {
    loop {
        let chosen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        match TcpListener::bind(chosen) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            outcome => return outcome,
        }
    }
}

/// Ten random characters that a name may have.
pub fn random_name() -> String {
    object::random_suffix() + &object::random_suffix()
}

fn target_of(store: &store::Store, object: &Value) -> Result<Target, Refusal> {
    let (kind, version) = store.kinds.of(object).ok_or_else(Refusal::no_such_page)?;
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let namespace = if kind.namespaced && namespace.is_empty() {
        "default"
    } else {
        namespace
    };
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    Ok(Target {
        kind,
        version,
        namespace: namespace.into(),
        name,
        subresource: String::new(),
    })
}

fn target_named(store: &store::Store, resource: &str, namespace: &str, name: &str) -> Target {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let kind = store
        .kinds
        .named(resource)
        .unwrap_or_else(|| panic!("no resource {resource} is served"));
    let version = kind.versions[0].clone();
    Target {
        kind,
        version,
        namespace: namespace.into(),
        name: name.into(),
        subresource: subresource.into(),
    }
}
