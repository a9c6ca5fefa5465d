//! A node of a cluster on which plexusd is replaced again and again.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use plexus_e2e::binaries::binary;
use plexus_e2e::cluster::Namespace;
use plexus_e2e::left::Expected;
use plexus_e2e::sequences::{PLUGINS, Random};
use plexus_e2e::{Changes, Cluster, Daemon, Flavour, Node, Runtime, Sandbox};
use serde_json::{Value, json};

use crate::pods::come_and_go;
use crate::rollout::{Clock, Phase};

/// The default network, and those that a pod may ask for besides it.
pub const DEFAULT: &str = "pods";
pub const OTHERS: [&str; 2] = ["lan", "storage"];
/// How many pods there are at one time.
const PODS: u64 = 4;
/// How many pods begin and end between two roll-outs at least.
const BETWEEN: u64 = 2;
/// How often the runtime asks for STATUS: a hundred times as often as containerd.
const STATUS_PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_mins(1);

/// A series of roll-outs that is being played.
pub struct World<'n, 'c> {
    stage: Stage<'n, 'c>,
    config: Value,
    kubeconfig: PathBuf,
    daemon: Daemon<'n>,
    random: Random,
    seed: u64,
    story: String,
}

/// What the threads of the runtime work with.
pub struct Stage<'n, 'c> {
    pub node: &'n Node,
    pub namespace: Namespace<'c>,
    /// The node's name in the cluster.
    pub name: String,
    /// A runtime that passes the pod's annotations with the call.
    pub capable: Runtime<'n>,
    /// One that does not.
    pub plain: Runtime<'n>,
    pub clock: Clock,
    sandboxes: AtomicU64,
    over: AtomicBool,
    lived: Mutex<Result<u64, String>>,
    changed: Condvar,
}

impl<'n> Stage<'n, '_> {
    /// Whether no further pod is to begin.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// A pod has lived and is gone.
    pub fn lived(&self) {
        if let Ok(count) = self.lived.lock().expect("nobody panics with it").as_mut() {
            *count += 1;
        }
        self.changed.notify_all();
    }

    /// A sandbox with a name of its own.
    pub fn sandbox(&self) -> Sandbox<'n> {
        self.node.sandbox(&format!(
            "sandbox{}",
            self.sandboxes.fetch_add(1, Ordering::Relaxed)
        ))
    }

    fn fail(&self, why: String) {
        let mut lived = self.lived.lock().expect("nobody panics with it");
        // The first counts; what comes after may follow from it.
        if lived.is_ok() {
            *lived = Err(why);
        }
        self.changed.notify_all();
    }

    /// Waits until so many pods more have lived. Panics where anything has failed.
    fn wait_lived(&self, more: u64) {
        let lived = self.lived.lock().expect("nobody panics with it");
        let end = lived.as_ref().map_or(0, |count| count + more);
        let unmet =
            |lived: &mut Result<u64, String>| lived.as_ref().is_ok_and(|count| *count < end);
        let (lived, timeout) = self
            .changed
            .wait_timeout_while(lived, PATIENCE, unmet)
            .expect("nobody panics with it");
        let failed = lived.as_ref().err().cloned();
        drop(lived);
        assert!(failed.is_none(), "{}", failed.unwrap_or_default());
        assert!(!timeout.timed_out(), "no pod begins and ends any more");
    }

    /// Asks for STATUS until the end; each must succeed.
    fn ask_for_status(&self, stop: &mpsc::Receiver<()>) {
        // The pause keeps the machine free for others; nothing waits for it.
        while matches!(
            stop.recv_timeout(STATUS_PAUSE),
            Err(mpsc::RecvTimeoutError::Timeout)
        ) {
            let start = Instant::now();
            let answer = self.plain.status();
            let phases = self.clock.end("STATUS", start);
            if !answer.ok() {
                return self.fail(format!("STATUS failed during {phases:?}: {answer:?}"));
            }
        }
    }
}

impl<'n, 'c> World<'n, 'c> {
    /// Sets it up.
    pub fn new(node: &'n Node, cluster: &'c Cluster, plugins: &Path, seed: u64) -> Self {
        node.uplink("uplink0");
        // With addresses of their own: those that the kernel gives change with the ports, which CHECK complains of.
        for (number, bridge) in ["cni0", "br1"].iter().enumerate() {
            node.ip(&format!(
                "link add {bridge} address 02:00:00:00:00:0{number} type bridge"
            ));
        }
        node.real_plugins(plugins, &PLUGINS);
        let namespace = cluster.namespace();
        let network = |name: &str, main: Value, subnet: &str| {
            let mut main = main;
            main["ipam"] = json!({"type": "host-local", "subnet": subnet});
            json!({"cniVersion": "1.0.0", "name": name, "plugins": [main]})
        };
        let bridge = |name: &str| json!({"type": "bridge", "bridge": name, "isGateway": true});
        let file = node.scratch().join("pods.conflist");
        fs::write(
            &file,
            network(DEFAULT, bridge("cni0"), "10.5.0.0/16").to_string(),
        )
        .expect("it can be written");
        let macvlan = json!({"type": "macvlan", "master": "uplink0"});
        namespace.definition("lan", &network("lan", macvlan, "10.6.0.0/16"));
        namespace.definition("storage", &network("storage", bridge("br1"), "10.7.0.0/16"));
        let net_dir = node.scratch().join("net.d");
        fs::create_dir(&net_dir).expect("it can be made");
        let config = json!({
            "binDir": node.bin_dir(), "clusterNetwork": file, "cniConfigDir": net_dir, "shimDir": node.bin_dir(),
            "recoveryInterval": "200ms", "goneGap": "400ms", "logLevel": "debug",
        });
        let plain = json!({"cniVersion": "1.1.0", "name": "plexus", "type": "plexus"});
        let mut capable = plain.clone();
        capable["capabilities"] = json!({"io.kubernetes.cri.pod-annotations": true});
        let runtime =
            |config: Value| Runtime::new(node, Flavour::Containerd, binary("plexus"), config);
        let (name, kubeconfig) = (Cluster::made_up_node(), cluster.kubeconfig(node));
        let daemon = Daemon::of_cluster(node, &config, &kubeconfig, &name);
        let stage = Stage {
            node,
            namespace,
            name,
            capable: runtime(capable),
            plain: runtime(plain),
            clock: Clock::default(),
            sandboxes: AtomicU64::new(0),
            over: AtomicBool::new(false),
            lived: Mutex::new(Ok(0)),
            changed: Condvar::new(),
        };
        Self {
            stage,
            config,
            kubeconfig,
            daemon,
            random: Random::new(seed),
            seed,
            story: String::new(),
        }
    }

    /// Replaces plexusd `count` times. Panics where a pod fails for good, where a STATUS fails, or where anything is left.
    pub fn play(mut self, count: u64) {
        self.daemon.restart();
        self.stage.clock.enter(Phase::Quiet);
        let (stop, stopped) = mpsc::channel();
        thread::scope(|scope| {
            let Self {
                stage,
                config,
                kubeconfig,
                daemon,
                random,
                seed,
                story,
            } = &mut self;
            let (stage, seed) = (&*stage, *seed);
            // However this ends, the threads do.
            let _over = Over(&stage.over, stop);
            scope.spawn(move || stage.ask_for_status(&stopped));
            for number in 0..PODS {
                scope.spawn(move || {
                    come_and_go(stage, number, seed).unwrap_or_else(|why| stage.fail(why));
                });
            }
            let mut rollouts = Rollouts {
                stage,
                config,
                kubeconfig,
                daemon,
                random,
            };
            for step in 0..count {
                stage.wait_lived(BETWEEN);
                let phase = rollouts.choose(step);
                let _ = writeln!(story, "step {step}: {phase:?}");
                stage.clock.enter(phase);
                rollouts.replace(phase);
                stage.wait_lived(1);
                stage.clock.enter(Phase::Quiet);
            }
            stage.wait_lived(PODS);
        });
        self.finish();
    }

    /// Nothing is left, with the daemon running and after its end.
    fn finish(&mut self) {
        let (node, lived) = (
            self.stage.node,
            self.stage
                .lived
                .lock()
                .expect("nobody panics with it")
                .clone(),
        );
        let lived = lived.unwrap_or_else(|why| panic!("{why}"));
        let dirs = [
            "/var/lib/plexus/ledger",
            "/var/lib/plexus/spool",
            "/run/netns",
        ]
        .map(PathBuf::from)
        .into_iter()
        .chain(
            [DEFAULT, OTHERS[0], OTHERS[1]]
                .map(|name| Path::new("/var/lib/cni/networks").join(name)),
        );
        let dirs: Vec<_> = dirs.collect();
        let changes = Changes::watch(node, &dirs.iter().map(PathBuf::as_path).collect::<Vec<_>>());
        changes.until_none(|| node.run(|| Expected::default().problem()));
        assert_eq!(names(node, "/run/netns"), [""; 0], "sandboxes are left");
        assert_eq!(names(node, "/run/plexus"), ["plexus.sock"]);
        self.daemon.stop();
        assert_eq!(
            names(node, "/run/plexus"),
            [""; 0],
            "of the socket something is left"
        );
        let state: BTreeSet<_> = names(node, "/var/lib/plexus").into_iter().collect();
        let known = ["definitions.json", "ledger", "lock", "spool"]
            .map(str::to_owned)
            .into();
        assert!(state.is_subset(&known), "in the state directory: {state:?}");
        let net_dir = node.scratch().join("net.d");
        assert_eq!(names(node, &net_dir), ["00-plexus.conflist"]);
        let programs = names(node, node.bin_dir());
        assert!(
            !programs.iter().any(|name| name.starts_with('.')),
            "{programs:?}"
        );
        assert_eq!(node.processes(), BTreeSet::new(), "processes are left");
        self.assert_prompt();
        println!("{lived} pods lived\n{}", self.stage.clock.report());
    }
}

impl World<'_, '_> {
    /// No call took long, whatever was done to plexusd meanwhile. A call that comes while there is none waits for the
    /// pause and for the start of the next, and for up to 200 ms more, the longest pause of the shim. Usual are a
    /// tenth of these.
    fn assert_prompt(&self) {
        use Phase::{Gap, Killed, KilledAfterTakeover, Race, Surge};
        for (verb, longest) in [("STATUS", 5), ("ADD", 10), ("DEL", 10), ("CHECK", 10)] {
            for phase in [Surge, Gap, Killed, KilledAfterTakeover, Race] {
                let took = self.stage.clock.longest(phase, verb);
                assert!(
                    took < Duration::from_secs(longest),
                    "{verb} took {took:?} during {phase:?}"
                );
            }
        }
    }
}

impl Drop for World<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "seed {} (PLEXUS_SEED)\n{}{}",
                self.seed,
                self.story,
                self.stage.clock.report()
            );
        }
    }
}

/// Ends the threads of the runtime.
struct Over<'a>(&'a AtomicBool, mpsc::Sender<()>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        // It may have ended for a failure.
        let _ = self.1.send(());
    }
}

/// What replaces the daemon.
struct Rollouts<'a, 'n, 'c> {
    stage: &'a Stage<'n, 'c>,
    config: &'a Value,
    kubeconfig: &'a Path,
    daemon: &'a mut Daemon<'n>,
    random: &'a mut Random,
}

impl<'n> Rollouts<'_, 'n, '_> {
    /// What is done next: each way first, then any.
    fn choose(&mut self, step: u64) -> Phase {
        use Phase::{Gap, Killed, KilledAfterTakeover, Race, Surge};
        let all = [Surge, Gap, Killed, KilledAfterTakeover, Race];
        usize::try_from(step)
            .ok()
            .and_then(|step| all.get(step).copied())
            .unwrap_or_else(|| {
                self.random
                    .pick(&[Surge, Surge, Surge, Gap, Gap, Killed, all[3], Race])
            })
    }

    fn replace(&mut self, phase: Phase) {
        match phase {
            Phase::Quiet => {}
            Phase::Surge => {
                let new = self.successor();
                self.take_over(new);
            }
            Phase::Gap => {
                self.daemon.stop();
                self.pause(300);
                self.daemon.launch();
            }
            Phase::Killed => {
                self.daemon.kill9();
                self.daemon.launch();
            }
            Phase::KilledAfterTakeover => {
                let mut new = self.successor();
                self.pause(50);
                new.kill9();
            }
            Phase::Race => {
                let (mut one, mut other) = (self.new_daemon(), self.new_daemon());
                one.launch();
                self.pause(20);
                other.launch();
                one.wait_ready();
                other.wait_ready();
                let (stays, goes) = if self.random.one_in(2) {
                    (one, &mut other)
                } else {
                    (other, &mut one)
                };
                self.pause(50);
                goes.stop();
                self.take_over(stays);
            }
        }
        self.daemon.wait_ready();
    }

    fn take_over(&mut self, mut new: Daemon<'n>) {
        new.wait_ready();
        std::mem::replace(self.daemon, new).stop();
    }

    fn new_daemon(&self) -> Daemon<'n> {
        Daemon::of_cluster(
            self.stage.node,
            self.config,
            self.kubeconfig,
            &self.stage.name,
        )
    }

    /// A daemon that has put its socket in the place of the one that runs.
    fn successor(&self) -> Daemon<'n> {
        let mut new = self.new_daemon();
        let (node, socket) = (self.stage.node, new.socket().to_owned());
        let inode = || node.run(|| fs::metadata(&socket).map(|socket| socket.ino()).ok());
        let before = inode();
        let changes = Changes::watch(node, &[new.socket().parent().expect("a directory")]);
        new.launch();
        changes.until_none(|| (inode() == before).then_some("the old socket"));
        new
    }

    /// Any time up to so many milliseconds: the instant is what the test is about.
    fn pause(&mut self, most: u64) {
        thread::sleep(Duration::from_millis(self.random.below(most)));
    }
}

fn names(node: &Node, dir: impl AsRef<Path> + Send) -> Vec<String> {
    let entries = node.run(|| {
        fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .collect::<Vec<_>>()
    });
    let mut names: Vec<_> = entries
        .iter()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
