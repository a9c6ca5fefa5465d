//! A node as a cluster has it: containerd, plexusd that publishes what containerd reads, a bridge for the default network,
//! and two networks besides it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::cri::{Cri, Refused};
use plexus_e2e::ip;
use plexus_e2e::left::{Expected, LEASES, LEDGER, SPOOL};
use plexus_e2e::{Changes, Containerd, Daemon, Manifests, Node, Pod};
use serde_json::{Value, json};

/// What a pod asks for to get all networks.
pub const NETWORKS: &str = "lan, storage";
/// How long the runtime may take to notice something.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the runtime remembers of networks, libcni's own.
const RESULTS: &str = "/var/lib/cni/results";
/// Where the runtime keeps the network namespaces of pods.
pub const SANDBOXES: &str = "/run/netns";
const PLUGINS: [&str; 4] = ["bridge", "macvlan", "host-local", "loopback"];

/// All of it.
pub struct Stage<'n> {
    pub node: &'n Node,
    pub config: Value,
    pub manifests: Manifests,
    pub daemon: Daemon<'n>,
    pub containerd: Containerd<'n>,
    pub cri: Cri,
}

/// What is missing here, or where the plugins are.
pub fn plugins() -> Result<PathBuf, String> {
    match Containerd::missing() {
        Some(missing) => Err(missing),
        None => plugin_dir(&PLUGINS),
    }
}

/// A [`Stage`] on a node that goes into `$node`, which the test has declared; or the test is skipped.
#[macro_export]
macro_rules! stage {
    ($node:ident, $keys:expr) => {{
        let plugins = match $crate::stage::plugins() {
            Ok(plugins) => plugins,
            Err(missing) => plexus_e2e::skip!("{missing}"),
        };
        $node = plexus_e2e::node!();
        $crate::stage::Stage::set(&$node, &plugins, &$keys)
    }};
}

impl<'n> Stage<'n> {
    /// Starts plexusd with `keys` over the usual ones, and then containerd.
    pub fn set(node: &'n Node, plugins: &Path, keys: &Value) -> Self {
        node.real_plugins(plugins, &PLUGINS);
        node.uplink("uplink0");
        node.run(|| fs::create_dir("/etc/cni/net.d"))
            .expect("it can be made");
        let network = node.scratch().join("pods.conflist");
        let pods = json!({
            "cniVersion": "1.0.0", "name": "pods", "plugins": [{
                "type": "bridge", "bridge": "cni0", "isGateway": true,
                "ipam": {"type": "host-local", "subnet": "10.4.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]},
            }],
        });
        fs::write(&network, pods.to_string()).expect("it can be written");
        let manifests = Manifests::new(node.scratch().join("manifests"));
        let range = |subnet: &str| json!({"type": "host-local", "subnet": subnet});
        let lan = json!({"cniVersion": "1.0.0", "type": "macvlan", "master": "uplink0", "ipam": range("10.5.0.0/16")});
        manifests.definition("lan", &lan);
        let storage = json!({"cniVersion": "1.0.0", "type": "bridge", "bridge": "br1", "ipam": range("10.6.0.0/16")});
        manifests.definition("storage", &storage);
        let mut config = json!({
            "clusterNetwork": network, "cniConfigDir": "/etc/cni/net.d", "shimDir": node.bin_dir(),
            "recoveryInterval": "100ms", "logLevel": "debug",
        });
        config
            .as_object_mut()
            .expect("an object")
            .extend(keys.as_object().cloned().expect("keys"));
        let daemon = Daemon::start(node, &config, manifests.dir());
        let containerd = Containerd::start_for_pods(node);
        let cri = containerd.cri();
        Self {
            node,
            config,
            manifests,
            daemon,
            containerd,
            cri,
        }
    }

    /// Stops a sandbox and removes it.
    pub fn end(&self, id: &str) {
        self.cri
            .stop(id)
            .unwrap_or_else(|error| panic!("StopPodSandbox: {error}"));
        self.cri
            .remove(id)
            .unwrap_or_else(|error| panic!("RemovePodSandbox: {error}"));
    }

    /// Runs a pod.
    pub fn run(&self, pod: &Pod) -> String {
        self.cri
            .run(pod)
            .unwrap_or_else(|error| panic!("RunPodSandbox: {error}"))
    }

    /// Runs a pod and expects it to fail: why it did.
    pub fn run_in_vain(&self, pod: &Pod) -> Refused {
        self.cri.run(pod).expect_err("it cannot run")
    }

    /// Name and address of each link of each pod.
    pub fn pods(&self) -> Vec<Vec<String>> {
        self.names(SANDBOXES)
            .into_iter()
            .map(|name| self.links_of(&name))
            .collect()
    }

    fn links_of(&self, sandbox: &str) -> Vec<String> {
        let links = self.node.run(|| {
            let namespace = File::open(Path::new(SANDBOXES).join(sandbox)).expect("it is there");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("it can be entered");
            ip::links()
        });
        let links = links.iter().filter(|link| link.name != "lo");
        links
            .map(|link| format!("{} {}", link.name, link.addresses.join(" ")))
            .collect()
    }

    /// Waits until the runtime takes the node's network for ready, or for not ready.
    pub fn wait_network_ready(&self, ready: bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let condition = self.cri.network_ready().expect("a condition");
            if condition.status == ready {
                return;
            }
            assert!(Instant::now() < end, "{condition:?}");
            // The runtime follows its directory, and tells nobody.
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether this runtime asks plugins for STATUS: from containerd 2.0 on.
    pub fn asks_status(&self) -> bool {
        let (_, version) = self.cri.version().expect("a version");
        !version.trim_start_matches('v').starts_with("1.")
    }

    /// Waits until nothing is left of any pod: no sandbox, record, lease or link, and nothing that containerd remembers.
    pub fn expect_nothing_left(&self) {
        assert_eq!(self.cri.list().expect("a list"), []);
        let dirs = [LEDGER, SPOOL, SANDBOXES, RESULTS].map(Path::new).to_vec();
        let leases = ["pods", "lan", "storage"].map(|network| Path::new(LEASES).join(network));
        let dirs: Vec<_> = dirs
            .into_iter()
            .chain(leases.iter().map(PathBuf::as_path))
            .collect();
        Changes::watch(self.node, &dirs).until_none(|| self.left());
    }

    /// What is left, though no pod is.
    pub fn left(&self) -> Option<String> {
        if let Some(problem) = self.node.run(|| Expected::default().problem()) {
            return Some(problem);
        }
        let (sandboxes, results) = (self.names(SANDBOXES), self.names(RESULTS));
        (!sandboxes.is_empty() || !results.is_empty())
            .then(|| format!("{sandboxes:?}, {results:?}"))
    }

    /// The names in a directory of the node.
    pub fn names(&self, dir: &str) -> BTreeSet<String> {
        let entries = || fs::read_dir(dir).into_iter().flatten().flatten();
        self.node.run(|| {
            entries()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        })
    }
}
