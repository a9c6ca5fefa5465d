//! A node with containerd, and with plexusd on networks of the reference plugins.

use std::fs::{self, File};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::MetadataExt as _;
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
        let default = real_networks::config(real_networks::DEFAULT);
        Self::with_default_network(node, plugins, default, keys)
    }

    /// The same with another default network.
    pub fn with_default_network(
        node: &'n Node,
        plugins: &Path,
        default: Value,
        keys: Value,
    ) -> Self {
        node.real_plugins(plugins, &["loopback"]);
        let plexus = real_networks::plexus_on(node, plugins)
            .default_network(default)
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

    /// The inode of the network namespace of the only pod.
    pub fn namespace(&self) -> u64 {
        let names = self.node.list(SANDBOXES);
        assert_eq!(names.len(), 1, "{names:?}");
        let path = Path::new(SANDBOXES).join(&names[0]);
        let metadata = self.node.run(|| fs::metadata(path));
        metadata.expect("a namespace").ino()
    }

    /// Waits until no process on the node is in this network namespace or has it open or mounted.
    pub fn wait_namespace_released(&self, inode: u64) {
        let (end, name) = (Instant::now() + TIMEOUT, format!("net:[{inode}]"));
        let is_name = |link: PathBuf| fs::read_link(link).is_ok_and(|to| to == Path::new(&name));
        let holds = |process: &PathBuf| {
            let files = fs::read_dir(process.join("fd")).into_iter().flatten();
            let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
            is_name(process.join("ns/net"))
                || mounts.contains(&name)
                || files.flatten().any(|file| is_name(file.path()))
        };
        loop {
            let processes = self.node.processes().into_iter();
            let mut processes = processes.map(|pid| PathBuf::from(format!("/proc/{pid}")));
            let Some(holder) = processes.find(holds) else {
                return;
            };
            let command = fs::read_to_string(holder.join("cmdline"));
            assert!(Instant::now() < end, "{name} is held by {command:?}");
            // The end of another process cannot be waited for.
            thread::sleep(Duration::from_millis(10));
        }
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
