//! The fixture of most tests: Plexus on a node, with a default network, a source of pods and
//! definitions, a daemon and a runtime.

mod state;

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};

use crate::daemon::{Container, Daemon, Source};
use crate::json::with_keys;
use crate::{
    CniTarget, Flavour, Manifests, Node, NodeWatch, PluginCall, Pod, Runtime, Sandbox, Script,
    attaches,
};

/// The plugin of the usual default network.
pub const MAIN: &str = "main";
/// The file of the default network in the scratch directory of the node.
pub const DEFAULT_NETWORK_FILE: &str = "default.conflist";
/// The directory of the runtime's configuration.
pub const NET_D: &str = "/etc/cni/net.d";
/// The configuration that the daemon publishes there.
pub const PUBLISHED: &str = "/etc/cni/net.d/00-plexus.conflist";

/// Plexus on a node.
#[derive(Debug)]
pub struct Plexus<'n> {
    pub node: &'n Node,
    /// The pods and definitions that the daemon serves, unless it has an API server.
    pub manifests: Manifests,
    /// The configuration of the daemon.
    pub config: Value,
    pub daemon: Daemon<'n>,
    pub runtime: Runtime<'n>,
    source: Source,
    container: Container,
}

/// Sets up [`Plexus`]. Without other settings: the default network `pods` of the scripted plugin
/// [`MAIN`], a directory of manifests, and a runtime like containerd.
#[derive(Debug)]
pub struct PlexusBuilder<'n> {
    node: &'n Node,
    default_network: Value,
    config: Value,
    flavour: Flavour,
    runtime: Value,
    source: Option<Source>,
    container: Container,
}

impl<'n> PlexusBuilder<'n> {
    /// Sets the configuration of the default network.
    #[must_use]
    pub fn default_network(mut self, config: Value) -> Self {
        self.default_network = config;
        self
    }

    /// Merges `keys` into the configuration of the daemon. `null` removes a key.
    #[must_use]
    pub fn config(mut self, keys: Value) -> Self {
        let (Value::Object(config), Value::Object(keys)) = (&mut self.config, keys) else {
            panic!("not a JSON object")
        };
        config.extend(keys);
        self
    }

    /// Merges `keys` into the plugin configuration of the runtime. `null` removes a key.
    #[must_use]
    pub fn runtime(mut self, keys: Value) -> Self {
        self.runtime = keys;
        self
    }

    /// Sets the runtime whose behaviour is simulated.
    #[must_use]
    pub fn flavour(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// Makes the daemon publish its configuration in [`NET_D`] and install its shim in the
    /// directory of the plugins.
    #[must_use]
    pub fn installed(self) -> Self {
        self.node
            .run(|| fs::create_dir_all(NET_D))
            .expect("create the directory");
        let keys = json!({"cniConfigDir": NET_D, "shimDir": self.node.bin_dir()});
        self.config(keys)
    }

    /// Sets where the daemon reads pods and definitions from.
    #[must_use]
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// Runs the daemon in a container.
    #[must_use]
    pub fn container(mut self, container: Container) -> Self {
        self.container = container;
        self
    }

    pub(crate) fn node(&self) -> &'n Node {
        self.node
    }

    /// Sets everything up. The daemon is not running.
    pub fn build(self) -> Plexus<'n> {
        let node = self.node;
        node.plugin(MAIN, &attaches());
        let default_network = node.write_json(DEFAULT_NETWORK_FILE, &self.default_network);
        let manifests = Manifests::new(node.scratch().join("manifests"));
        let config = with_keys(
            json!({"clusterNetwork": default_network, "kubeletDir": node.kubelet_dir()}),
            self.config,
        );
        let source = self
            .source
            .unwrap_or_else(|| Source::Manifests(manifests.dir().to_owned()));
        Plexus {
            node,
            daemon: Daemon::new(node, &config, source.clone(), self.container.clone()),
            runtime: Runtime::of_shim(node, self.flavour, self.runtime),
            manifests,
            config,
            source,
            container: self.container,
        }
    }

    /// Sets everything up and waits until the daemon is ready.
    pub fn start(self) -> Plexus<'n> {
        let mut plexus = self.build();
        plexus.daemon.restart();
        plexus
    }
}

impl<'n> Plexus<'n> {
    /// Begins to set up Plexus on `node`.
    pub fn on(node: &'n Node) -> PlexusBuilder<'n> {
        PlexusBuilder {
            node,
            default_network: json!({
                "cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": MAIN}],
            }),
            config: json!({}),
            flavour: Flavour::Containerd,
            runtime: json!({}),
            source: None,
            container: Container::default(),
        }
    }

    /// Starts Plexus with the usual settings.
    pub fn start(node: &'n Node) -> Self {
        Self::on(node).start()
    }

    /// Starts Plexus with `keys` merged into the usual configuration of the daemon.
    pub fn start_with(node: &'n Node, keys: Value) -> Self {
        Self::on(node).config(keys).start()
    }

    /// Writes the definition `default/NAME` with a scripted plugin of the same name.
    pub fn network(&self, name: &str, script: &Script) {
        self.node.plugin(name, script);
        self.manifests
            .definition(name, &json!({"cniVersion": "1.0.0", "type": name}));
    }

    /// The same for each of these names, with plugins that make and remove their interface.
    pub fn networks(&self, names: &[&str]) {
        for name in names {
            self.network(name, &attaches());
        }
    }

    /// The same for each of these names, with definitions that name a resource.
    pub fn device_networks(&self, networks: &[(&str, &str)]) {
        for (name, resource) in networks {
            self.node.plugin(name, &attaches());
            let config = json!({"cniVersion": "1.0.0", "type": name});
            self.manifests.device_definition(name, resource, &config);
        }
    }

    /// Another runtime, with `keys` merged into the usual plugin configuration.
    pub fn runtime_with(&self, keys: Value) -> Runtime<'n> {
        Runtime::of_shim(self.node, Flavour::Containerd, keys)
    }

    /// The interface `eth0` of `pod` in a new sandbox of the pod's name.
    pub fn target(&self, pod: &Pod) -> CniTarget {
        self.node.sandbox(&pod.name).target(pod)
    }

    /// The sandbox of a new pod that selects `networks`, or no networks if that is empty.
    pub fn sandbox(&self, pod: &str, networks: &str) -> (Sandbox<'n>, CniTarget) {
        let sandbox = self.node.sandbox(pod);
        let pod = if networks.is_empty() {
            Pod::new(pod)
        } else {
            Pod::new(pod).with_networks(networks)
        };
        let target = sandbox.target(&pod);
        (sandbox, target)
    }

    /// The same after a successful ADD.
    #[track_caller]
    pub fn attached(&self, pod: &str, networks: &str) -> (Sandbox<'n>, CniTarget) {
        let (sandbox, target) = self.sandbox(pod, networks);
        self.runtime.add(&target).result();
        (sandbox, target)
    }

    /// The calls of the scripted plugins as `OPERATION plugin ifname`.
    pub fn calls(&self) -> Vec<String> {
        self.node.call_summaries()
    }

    /// The calls for one container as `OPERATION plugin ifname`.
    pub fn calls_for(&self, target: &CniTarget) -> Vec<String> {
        let calls = self.node.calls_for(&target.container);
        calls.iter().map(PluginCall::summary).collect()
    }

    /// The calls of one operation.
    pub fn calls_of(&self, operation: &str) -> Vec<PluginCall> {
        let mut calls = self.node.calls();
        calls.retain(|call| call.operation == operation);
        calls
    }

    /// Another daemon with the same configuration. It is not running.
    pub fn new_daemon(&self) -> Daemon<'n> {
        let (source, container) = (self.source.clone(), self.container.clone());
        Daemon::new(self.node, &self.config, source, container)
    }

    /// Starts another daemon and waits until it has replaced the socket.
    pub fn start_successor(&self) -> Daemon<'n> {
        let mut new = self.new_daemon();
        let socket = new.socket().to_owned();
        let inode = || {
            self.node
                .run(|| fs::metadata(&socket).map(|socket| socket.ino()).ok())
        };
        let before = inode();
        let watch = NodeWatch::new(self.node, &[socket.parent().expect("a directory")]);
        new.launch();
        watch.wait_while(|| (inode() == before).then_some("the old socket"));
        new
    }

    /// The configuration that the daemon has published, if it can be read.
    pub fn published(&self) -> Option<Value> {
        serde_json::from_str(&self.node.try_read(PUBLISHED).ok()?).ok()
    }
}
