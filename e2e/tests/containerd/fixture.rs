//! A node with containerd, and with plexusd on networks of the reference plugins.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::cri::{Cri, CriError};
use plexus_e2e::leftovers::{ExpectedState, watched_dirs};
use plexus_e2e::{Containerd, Node, NodeWatch, Plexus, Pod, ip, real_networks};
use serde_json::{Value, json};

/// The secondary networks in a pod's annotation.
pub const NETWORKS: &str = "lan, storage";
/// How long the runtime may take to notice a change.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The results that libcni caches.
const RESULTS: &str = "/var/lib/cni/results";
/// The network namespaces of pods.
pub const SANDBOXES: &str = "/run/netns";
const PLUGINS: [&str; 4] = ["bridge", "macvlan", "host-local", "loopback"];

/// Plexus with containerd.
pub struct PlexusWithContainerd<'n> {
    plexus: Plexus<'n>,
    pub containerd: Containerd<'n>,
    pub cri: Cri,
}

impl<'n> Deref for PlexusWithContainerd<'n> {
    type Target = Plexus<'n>;

    fn deref(&self) -> &Self::Target {
        &self.plexus
    }
}

impl DerefMut for PlexusWithContainerd<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.plexus
    }
}

/// The directory of the plugins, or what is missing to run these tests.
pub fn plugins() -> Result<PathBuf, String> {
    match Containerd::missing() {
        Some(missing) => Err(missing),
        None => plugin_dir(&PLUGINS),
    }
}

/// Evaluates to a [`PlexusWithContainerd`], or skips the test. The node is assigned to `$node`,
/// which the test has declared.
#[macro_export]
macro_rules! start {
    ($node:ident, $keys:expr) => {{
        let plugins = plexus_e2e::or_skip!($crate::fixture::plugins());
        $node = plexus_e2e::node!();
        $crate::fixture::PlexusWithContainerd::start(&$node, &plugins, $keys)
    }};
}

impl<'n> PlexusWithContainerd<'n> {
    /// Starts plexusd with `keys` merged into its usual configuration, and then containerd.
    pub fn start(node: &'n Node, plugins: &Path, keys: Value) -> Self {
        node.real_plugins(plugins, &["loopback"]);
        let plexus = real_networks::plexus_on(node, plugins)
            .installed()
            .config(json!({"recoveryInterval": "100ms", "logLevel": "debug"}))
            .config(keys)
            .start();
        real_networks::define(&plexus.manifests);
        let containerd = Containerd::start_for_pods(node);
        Self {
            plexus,
            cri: containerd.cri(),
            containerd,
        }
    }

    /// Starts a pod and returns the ID of its sandbox.
    pub fn run_pod(&self, pod: &Pod) -> String {
        self.cri
            .run(pod)
            .unwrap_or_else(|error| panic!("RunPodSandbox: {error}"))
    }

    /// Asserts that a pod does not start.
    pub fn run_pod_error(&self, pod: &Pod) -> CriError {
        self.cri.run(pod).expect_err("the pod must not start")
    }

    /// Stops and removes a sandbox.
    pub fn remove_pod(&self, id: &str) {
        self.cri
            .stop(id)
            .unwrap_or_else(|error| panic!("StopPodSandbox: {error}"));
        self.cri
            .remove(id)
            .unwrap_or_else(|error| panic!("RemovePodSandbox: {error}"));
    }

    /// The links of each pod as `name address`.
    pub fn pods(&self) -> Vec<Vec<String>> {
        self.node
            .list(SANDBOXES)
            .iter()
            .map(|name| self.links_of(name))
            .collect()
    }

    fn links_of(&self, sandbox: &str) -> Vec<String> {
        let links = self.node.run(|| {
            let namespace = File::open(Path::new(SANDBOXES).join(sandbox)).expect("a namespace");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
            ip::links()
        });
        let links = links.iter().filter(|link| link.name != "lo");
        links
            .map(|link| format!("{} {}", link.name, link.addresses.join(" ")))
            .collect()
    }

    /// Waits until the runtime reports the network as ready or not ready.
    pub fn wait_network_ready(&self, ready: bool) {
        let end = Instant::now() + TIMEOUT;
        loop {
            let condition = self.cri.network_ready().expect("a condition");
            if condition.status == ready {
                return;
            }
            assert!(Instant::now() < end, "{condition:?}");
            // The runtime watches its directory but sends no notification.
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether this runtime calls STATUS, as containerd does since 2.0.
    pub fn calls_status(&self) -> bool {
        let (_, version) = self.cri.version().expect("a version");
        !version.trim_start_matches('v').starts_with("1.")
    }

    /// The number of records, of spooled DELs, and of sandboxes.
    pub fn counts(&self) -> [usize; 3] {
        [
            self.files("ledger").len(),
            self.files("spool").len(),
            self.node.list(SANDBOXES).len(),
        ]
    }

    /// Waits until nothing is left of any pod: no sandbox, record, lease, link or cached result.
    pub fn wait_nothing_left(&self) {
        assert_eq!(self.cri.list().expect("a list"), []);
        let mut dirs = watched_dirs();
        dirs.extend([SANDBOXES, RESULTS].map(str::to_owned));
        NodeWatch::new(self.node, &dirs).wait_while(|| self.leftovers());
    }

    /// What is left if no pod is running.
    pub fn leftovers(&self) -> Option<String> {
        let difference = ExpectedState::default().difference(self.node);
        difference.or_else(|| {
            let (sandboxes, results) = (self.node.list(SANDBOXES), self.node.list(RESULTS));
            (!sandboxes.is_empty() || !results.is_empty())
                .then(|| format!("{sandboxes:?}, {results:?}"))
        })
    }
}
