//! A node on which Plexus runs, with a default network `pods` by the plugin `main` and one `lan` by the plugin `extra`.

use std::fs;
use std::net::SocketAddr;

use plexus_e2e::binaries::binary;
use plexus_e2e::{Daemon, Flavour, Manifests, Node, Pod, Runtime, Script, Step, Target};
use serde_json::{Value, json};

/// Where the metrics are unless told otherwise.
pub const DEFAULT: &str = "127.0.0.1:9464";

/// Plexus at work on a node.
pub struct Plexus<'n> {
    pub node: &'n Node,
    pub manifests: Manifests,
    pub daemon: Daemon<'n>,
    pub runtime: Runtime<'n>,
}

impl<'n> Plexus<'n> {
    /// Starts it with `keys` over the usual ones of its configuration file.
    pub fn start(node: &'n Node, keys: &Value) -> Self {
        for plugin in ["main", "extra"] {
            node.plugin(plugin, &Script::new().on("ADD", [Step::Link("bridge".into())]).on("DEL", [Step::Unlink]));
        }
        let default = node.scratch().join("default.conf");
        let text = json!({"cniVersion": "1.0.0", "name": "pods", "type": "main"});
        fs::write(&default, text.to_string()).expect("it can be written");
        let manifests = Manifests::new(node.scratch().join("manifests"));
        manifests.definition("lan", &json!({"cniVersion": "1.0.0", "type": "extra"}));
        let mut config = json!({"clusterNetwork": default});
        for (key, value) in keys.as_object().expect("an object") {
            config[key] = value.clone();
        }
        let daemon = Daemon::start(node, &config, manifests.dir());
        let config = json!({
            "cniVersion": "1.1.0", "name": "plexus", "type": "plexus",
            "capabilities": {"io.kubernetes.cri.pod-annotations": true},
        });
        let runtime = Runtime::new(node, Flavour::Containerd, binary("plexus"), config);
        Self { node, manifests, daemon, runtime }
    }

    /// The interface `eth0` of a pod in a sandbox of its own, which outlives the test's use of it.
    pub fn target(&self, pod: &Pod) -> Target {
        Target::new(&self.node.sandbox(&pod.name), "eth0", pod)
    }

    /// What is scraped at the default address.
    pub fn scrape(&self) -> String {
        let address: SocketAddr = DEFAULT.parse().expect("an address");
        let reply = self.daemon.get_tcp(address, "/metrics").expect("an answer");
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.body
    }

    /// The value of a series in a scrape.
    pub fn value(&self, series: &str) -> f64 {
        let scrape = self.scrape();
        let found = scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        found.unwrap_or_else(|| panic!("no {series} in\n{scrape}"))
    }
}
