//! plexusd is killed at any instant of an ADD or a DEL. After its restart nothing is left of the pod, and the pods
//! beside it are untouched, whichever runtime is there.
//!
//! `PLEXUS_KILLS` says how many sequences; `PLEXUS_SEED` where they begin.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use plexus_e2e::binaries::{binary, plugin_dir};
use plexus_e2e::{Answer, Changes, Daemon, Flavour, Manifests, Node, Pod, Runtime, Sandbox, Target, node, skip};
use serde_json::{Value, json};

/// How many sequences run unless told otherwise.
const SEQUENCES: u64 = 8;
const LEDGER: &str = "/var/lib/plexus/ledger";
const LEASES: &str = "/var/lib/cni/networks";

/// A number of the sequence `seed`, below `limit`.
fn random(seed: u64, what: &str, limit: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, what).hash(&mut hasher);
    hasher.finish() % limit
}

#[test]
fn a_killed_daemon_leaves_nothing_behind() {
    plexus_api::rows!("R-067", "R-085");
    let plugins = match plugin_dir(&["bridge", "macvlan", "host-local"]) {
        Ok(dir) => dir,
        Err(reason) => skip!("{reason}"),
    };
    let number = |key: &str, default| std::env::var(key).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (first, count) = (number("PLEXUS_SEED", 0), number("PLEXUS_KILLS", SEQUENCES));
    let node = node!();
    let stage = Stage::set(&node, &plugins);
    for seed in first..first + count {
        eprintln!("PLEXUS_SEED={seed} PLEXUS_KILLS=1");
        stage.sequence(seed);
    }
}

struct Stage<'n> {
    node: &'n Node,
    plugins: &'n Path,
    manifests: Manifests,
    config: Value,
}

impl<'n> Stage<'n> {
    fn set(node: &'n Node, plugins: &'n Path) -> Self {
        node.uplink("uplink0");
        let default = json!({
            "cniVersion": "1.0.0", "name": "pods", "type": "bridge", "bridge": "cni0", "isGateway": true,
            "ipam": {"type": "host-local", "subnet": "10.5.0.0/16"},
        });
        let file = node.scratch().join("default.conf");
        fs::write(&file, default.to_string()).expect("it can be written");
        let manifests = Manifests::new(node.scratch().join("manifests"));
        let lan = json!({
            "cniVersion": "1.0.0", "type": "macvlan", "master": "uplink0",
            "ipam": {"type": "host-local", "subnet": "10.6.0.0/16"},
        });
        manifests.definition("lan", &lan);
        let config = json!({
            "binDir": plugins, "clusterNetwork": file,
            "goneGap": "200ms", "recoveryInterval": "100ms",
        });
        Self { node, plugins, manifests, config }
    }

    /// One pod that lives through it, and one whose ADD or DEL is hit.
    fn sequence(&self, seed: u64) {
        let flavour = if seed.is_multiple_of(2) { Flavour::Containerd } else { Flavour::Crio };
        let runtime = Runtime::new(self.node, flavour, binary("plexus"), runtime_config())
            .with_cni_path(self.plugins.to_string_lossy());
        let mut daemon = Daemon::start(self.node, &self.config, self.manifests.dir());

        let (living, hit) = (Pod::new("living").with_networks("lan"), Pod::new("hit").with_networks("lan"));
        let (living_sandbox, hit_sandbox) = (self.node.sandbox("living"), self.node.sandbox("hit"));
        let start = Instant::now();
        runtime.run_pod(&living_sandbox, &living).result();
        let usual = u64::try_from(start.elapsed().as_micros()).expect("it is short");

        let delay = Duration::from_micros(random(seed, "delay", usual));
        let verb = if random(seed, "verb", 2) == 0 { "ADD" } else { "DEL" };
        if verb == "DEL" {
            runtime.run_pod(&hit_sandbox, &hit).result();
        }
        let call = || match verb {
            "ADD" => runtime.run_pod(&hit_sandbox, &hit),
            _ => runtime.stop_pod(&hit_sandbox, &hit),
        };
        let answer = match random(seed, "way", 3) {
            // The daemon is back while the runtime still cleans up.
            0 => Some(killed_during(&mut daemon, delay, call, Daemon::restart)),
            // The runtime has given up by then.
            1 => {
                let answer = killed_during(&mut daemon, delay, call, |_| ());
                daemon.restart();
                Some(answer)
            }
            // The runtime dies too, and nobody ever sends a DEL.
            _ => {
                let shim = runtime.start(verb, &Target::new(&hit_sandbox, "eth0", &hit));
                thread::sleep(delay);
                daemon.kill9();
                shim.kill();
                hit_sandbox.remove();
                daemon.restart();
                None
            }
        };
        // A pod that runs is stopped, and kubelet makes containerd try again.
        let stops = match (verb, answer.map(|answer| answer.ok())) {
            ("ADD", answer) => answer == Some(true),
            (_, answer) => answer == Some(false) && flavour == Flavour::Containerd,
        };
        if stops {
            self.stop(&runtime, flavour, &hit_sandbox, &hit);
        }

        let left = || self.node.run(|| Left::of(&living_sandbox));
        let changes = Changes::watch(self.node, &watched());
        changes.until_none(|| left().problem(1));
        let target = Target::new(&living_sandbox, "eth0", &living);
        runtime.check(&target).expect_silence();
        assert!(["eth0", "net1"].iter().all(|name| living_sandbox.link(name).is_some_and(|link| link.up)));
        self.stop(&runtime, flavour, &living_sandbox, &living);
        changes.until_none(|| left().problem(0));
        daemon.stop();
    }

    /// The end of a pod while the daemon runs undisturbed.
    fn stop(&self, runtime: &Runtime<'_>, flavour: Flavour, sandbox: &Sandbox<'_>, pod: &Pod) {
        let answer = runtime.stop_pod(sandbox, pod);
        assert!(answer.ok(), "{flavour:?} cannot stop {}: {answer:?} on {:?}", pod.name, self.node);
    }
}

fn runtime_config() -> Value {
    let capabilities = json!({"io.kubernetes.cri.pod-annotations": true});
    json!({
        "cniVersion": "1.1.0", "name": "plexus", "type": "plexus", "capabilities": capabilities,
        "daemonWaitAdd": "500ms", "daemonWaitDel": "100ms",
    })
}

/// Kills the daemon `delay` after `call` began, and does `then`.
fn killed_during<'n>(
    daemon: &mut Daemon<'n>,
    delay: Duration,
    call: impl FnOnce() -> Answer + Send,
    then: impl FnOnce(&mut Daemon<'n>),
) -> Answer {
    thread::scope(|scope| {
        let call = scope.spawn(call);
        // The instant is what the test is about; nothing waits for it.
        thread::sleep(delay);
        daemon.kill9();
        then(daemon);
        call.join().expect("a runtime does not panic")
    })
}

fn watched() -> [&'static Path; 3] {
    [LEDGER, "/var/lib/cni/networks/pods", "/var/lib/cni/networks/lan"].map(Path::new)
}

/// What is on the node besides its own links.
#[derive(Debug)]
struct Left {
    veths: usize,
    leases: BTreeSet<PathBuf>,
    records: BTreeSet<PathBuf>,
    netns: BTreeSet<PathBuf>,
    own: String,
}

impl Left {
    fn of(living: &Sandbox<'_>) -> Self {
        let children = |dir: &str| {
            fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<BTreeSet<_>>()
        };
        let is_address = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().parse::<std::net::IpAddr>().is_ok())
        };
        let networks = children(LEASES).into_iter().filter(|path| path.is_dir());
        let leases = networks.flat_map(|network| children(&network.to_string_lossy())).filter(is_address).collect();
        let veths = plexus_e2e::ip::links().into_iter().filter(|link| link.name.starts_with("veth")).count();
        let own = living.id().to_owned();
        Self { veths, leases, records: children(LEDGER), netns: children("/run/netns"), own }
    }

    /// What should not be there while this many pods live, the pod `own` alone.
    fn problem(self, living: usize) -> Option<Self> {
        let foreign = self.records.iter().any(|record| !record.to_string_lossy().contains(&self.own));
        let counts = (self.veths, self.leases.len(), self.records.len(), self.netns.len());
        (foreign || counts != (living, 2 * living, living, living)).then_some(self)
    }
}
