//! The cluster of a test: an API server in memory, or a real one where `PLEXUS_E2E_KUBECONFIG` names its kubeconfig.
//!
//! Tests that use it do the same with both. What they make is in namespaces of their own, bound to nodes that nobody
//! has, and goes away with the namespace. What only the server in memory can do, its faults and its audit, is had by
//! [`Cluster::server`].

mod forward;
mod namespace;

use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_apiserver::{ApiServer, Client, Kubeconfig, network_attachment_definition_crd};
use serde_json::Value;
use tempfile::TempDir;

pub use namespace::Namespace;

use crate::Node;
use forward::Forward;

/// Names the kubeconfig of a real cluster.
const VARIABLE: &str = "PLEXUS_E2E_KUBECONFIG";
/// How long anything may take in a real cluster.
const PATIENCE: Duration = Duration::from_mins(1);
/// The resource of the definitions.
const DEFINITIONS: &str = "network-attachment-definitions.k8s.cni.cncf.io";

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    server: Option<ApiServer>,
    config: Kubeconfig,
    client: Client,
    dir: TempDir,
}

impl Cluster {
    /// The real one where the environment names it, else one in memory that is made now. Network attachment
    /// definitions can be made in both.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("plexus-cluster-")
            .tempdir()
            .expect("a directory can be made");
        let (server, path) =
            if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
                (None, PathBuf::from(path))
            } else {
                let server = ApiServer::start();
                let path = server.kubeconfig(dir.path(), "admin");
                (Some(server), path)
            };
        let config = Kubeconfig::read(&path).unwrap_or_else(|error| panic!("{error:#}"));
        let client =
            Client::new(&config).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
        let cluster = Self {
            server,
            config,
            client,
            dir,
        };
        cluster.install_definition();
        cluster
    }

    /// The server in memory; `None` with a real cluster.
    pub fn server(&self) -> Option<&ApiServer> {
        self.server.as_ref()
    }

    /// A client of an administrator.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Writes a kubeconfig of an administrator that serves programs on `node`, which reach the API server by the node's
    /// loopback.
    pub fn kubeconfig(&self, node: &Node) -> PathBuf {
        let listener = node
            .run(plexus_apiserver::loopback_listener)
            .expect("a port of the node's loopback can be had");
        let address = listener.local_addr().expect("a listener has an address");
        let (host, port) = self.config.host_and_port().expect("it was read before");
        let name = self
            .config
            .server_name
            .clone()
            .unwrap_or_else(|| host.to_owned());
        match &self.server {
            Some(server) => _ = server.listen(listener),
            None => Forward::start(listener, host, port),
        }
        let config = Kubeconfig {
            server: format!("https://{address}"),
            server_name: Some(name),
            ..self.config.clone()
        };
        config.write(&self.dir.path().join(address.port().to_string()))
    }

    /// A directory that goes away with the cluster.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A namespace of its own for a test.
    pub fn namespace(&self) -> Namespace<'_> {
        Namespace::new(self)
    }

    /// A name for a node that no cluster has.
    pub fn made_up_node() -> String {
        format!("plexus-e2e-{}", plexus_apiserver::random_name())
    }

    /// Makes the definition of the definitions, where it is not there, and waits until it is served.
    fn install_definition(&self) {
        let definition = network_attachment_definition_crd();
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let made = self
            .client
            .post(path, &definition)
            .expect("the API server answers");
        assert!(
            matches!(made.code, 201 | 409),
            "{} {}",
            made.code,
            made.text
        );
        let watch = format!("{path}?watch=true&fieldSelector=metadata.name%3D{DEFINITIONS}");
        let mut lines = self
            .client
            .stream(&watch, &[])
            .expect("the API server answers");
        let established = |event: &Value| {
            let conditions = event["object"]["status"]["conditions"].as_array();
            conditions.is_some_and(|all| {
                all.iter()
                    .any(|one| one["type"] == "Established" && one["status"] == "True")
            })
        };
        while !established(&lines.document()) {}
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}
