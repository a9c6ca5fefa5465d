//! The cluster of a test: an API server in memory, or a real one if `PLEXUS_E2E_KUBECONFIG` is set.
//!
//! Tests work with both. They create namespaces of their own and pods that are bound to nodes that
//! do not exist, and delete both at the end. Only the server in memory, [`Cluster::server`], has
//! faults and an audit log.

mod forward;
mod namespace;

use std::path::{Path, PathBuf};

use plexus_apiserver::{
    ApiServer, Client, Kubeconfig, loopback_listener, network_attachment_definition_crd,
    random_name,
};
use serde_json::Value;
use tempfile::TempDir;

pub use namespace::{DEFINITIONS, Namespace};

use crate::Node;

/// The environment variable with the kubeconfig of a real cluster.
const VARIABLE: &str = "PLEXUS_E2E_KUBECONFIG";

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    server: Option<ApiServer>,
    config: Kubeconfig,
    client: Client,
    dir: TempDir,
}

impl Cluster {
    /// The real cluster if the environment names one, else a new one in memory. The CRD of network
    /// attachment definitions is installed in both.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("plexus-cluster-")
            .tempdir()
            .expect("create a directory");
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
        cluster.install_crd();
        cluster
    }

    /// The server in memory. `None` with a real cluster.
    pub fn server(&self) -> Option<&ApiServer> {
        self.server.as_ref()
    }

    /// A client with the rights of an administrator.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Writes a kubeconfig of an administrator for programs on `node`. They reach the API server
    /// through the node's loopback interface.
    pub fn kubeconfig(&self, node: &Node) -> PathBuf {
        let listener = node.run(loopback_listener).expect("listen on loopback");
        let address = listener.local_addr().expect("the address of a listener");
        let (host, port) = self.config.host_and_port().expect("a valid kubeconfig");
        let name = self
            .config
            .server_name
            .clone()
            .unwrap_or_else(|| host.to_owned());
        match &self.server {
            Some(server) => _ = server.listen(listener),
            None => forward::start(listener, host, port),
        }
        let config = Kubeconfig {
            server: format!("https://{address}"),
            server_name: Some(name),
            ..self.config.clone()
        };
        config.write(&self.dir.path().join(address.port().to_string()))
    }

    /// A directory that is removed with the cluster.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Creates a namespace for a test.
    pub fn namespace(&self) -> Namespace<'_> {
        Namespace::new(&self.client, self.server())
    }

    /// A random name of a node that no cluster has.
    pub fn random_node_name() -> String {
        format!("plexus-e2e-{}", random_name())
    }

    /// Creates the CRD of network attachment definitions if it is missing, and waits until it is
    /// established.
    fn install_crd(&self) {
        let definition = network_attachment_definition_crd();
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let created = self.client.post(path, &definition).expect("a response");
        assert!(
            matches!(created.code, 201 | 409),
            "{} {}",
            created.code,
            created.text
        );
        let watch = format!("{path}?watch=true&fieldSelector=metadata.name%3D{DEFINITIONS}");
        let mut events = self.client.stream(&watch, &[]).expect("a response");
        let established = |event: &Value| {
            let conditions = event["object"]["status"]["conditions"].as_array();
            conditions.is_some_and(|all| {
                all.iter()
                    .any(|one| one["type"] == "Established" && one["status"] == "True")
            })
        };
        while !established(&events.document()) {}
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}
