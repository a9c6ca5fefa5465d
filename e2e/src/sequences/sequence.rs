//! One sequence: a node, its pods, and the processes that are killed while pods start and stop.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::kill::{Kill, KillPoint};
use super::pod_calls::PodCalls;
use super::random::Random;
use crate::leftovers::{ExpectedState, watched_dirs};
use crate::real_networks::{self, DEFAULT, SECONDARY};
use crate::{
    CniTarget, Daemon, Flavour, Held, Node, NodeWatch, Plexus, Pod, Runtime, Sandbox, Script, ip,
};

/// A sequence.
pub struct Sequence<'n> {
    plexus: Plexus<'n>,
    random: Random,
    flavour: Flavour,
    pods: Vec<RunningPod<'n>>,
    created: usize,
    /// How long an ADD takes on this machine.
    usual: Duration,
    kills: u64,
    /// The steps so far, printed if the sequence fails.
    steps: String,
}

/// A pod of the runtime.
struct RunningPod<'n> {
    sandbox: Sandbox<'n>,
    pod: Pod,
    networks: Vec<&'static str>,
    /// The links in the sandbox after ADD.
    links: Vec<ip::Link>,
    /// Whether a DEL has failed. kubelet then retries.
    stopping: bool,
}

/// A call during which something is killed, and perhaps an ADD of another pod at the same time.
struct Round<'n> {
    pod: RunningPod<'n>,
    is_add: bool,
    other: Option<RunningPod<'n>>,
    kill: Kill,
    point: KillPoint,
    /// Whether a held plugin is released before plexusd is restarted.
    release_first: bool,
    /// The delay between the start of a new plexusd and the kill.
    delay: Duration,
}

impl<'n> Sequence<'n> {
    pub fn new(node: &'n Node, plugins: &Path, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let wait = random.pick(&["1ms", "50ms", "500ms"]);
        let runtime = json!({
            "daemonWaitAdd": "5s",
            "daemonWaitDel": wait,
            "delWhenDown": random.pick(&["retry", "spool"]),
        });
        let flavour = random.pick(&[Flavour::Containerd, Flavour::Crio]);
        let keys = json!({
            "binDir": node.bin_dir(), "recoveryInterval": "30ms", "goneGap": "60ms", "checkPlugins": "all",
        });
        let plexus = real_networks::plexus_on(node, plugins)
            .default_network(with_scripted_plugins(node, DEFAULT))
            .config(keys)
            .flavour(flavour)
            .runtime(runtime)
            .build();
        for name in SECONDARY {
            plexus
                .manifests
                .definition(name, &with_scripted_plugins(node, name));
        }
        Self {
            plexus,
            random,
            flavour,
            pods: Vec::new(),
            created: 0,
            usual: Duration::ZERO,
            kills: 0,
            steps: format!("sequence {seed}: {flavour:?}, daemonWaitDel {wait}\n"),
        }
    }

    /// Runs the sequence and returns the number of kills. Panics if anything is left behind or a
    /// running pod is damaged.
    pub fn run(mut self) -> u64 {
        self.plexus.daemon.launch();
        self.plexus.daemon.wait_ready();
        for _ in 0..=self.random.below(3) {
            let start = Instant::now();
            let pod = self.new_pod();
            assert!(self.calls(&pod).start(), "a pod does not start");
            self.usual = start.elapsed();
            self.add_running(pod);
        }
        for _ in 0..=self.random.below(3) {
            self.round();
            self.settle();
        }
        for pod in &self.pods {
            let output = self.calls(pod).stop();
            assert!(output.ok(), "a pod does not stop: {output:?}");
        }
        self.pods.clear();
        self.settle();
        self.plexus.daemon.stop();
        self.kills
    }

    /// Kills something during a call, or removes a sandbox without a DEL.
    fn round(&mut self) {
        if self.random.one_in(8) && !self.pods.is_empty() {
            let pod = self.take_pod();
            self.log(&format!(
                "sandbox of {} removed without a DEL",
                pod.pod.name
            ));
            pod.sandbox.remove();
            return;
        }
        let round = self.choose_round();
        let (succeeded, other_runs) = self.run_calls(&round);
        if round.kill.leaves_daemon_stopped() {
            self.plexus.daemon.launch();
        }
        self.plexus.daemon.wait_ready();
        self.log(if succeeded { "  succeeded" } else { "  failed" });
        match (round.is_add, succeeded) {
            (true, true) => self.add_running(round.pod),
            (false, false) if self.flavour == Flavour::Containerd => self.pods.push(RunningPod {
                stopping: true,
                ..round.pod
            }),
            _ => {}
        }
        if let (Some(other), Some(true)) = (round.other, other_runs) {
            self.add_running(other);
        }
    }

    fn choose_round(&mut self) -> Round<'n> {
        let is_add = self.pods.is_empty() || self.random.one_in(2);
        let (pod, operation) = if is_add {
            (self.new_pod(), "ADD")
        } else {
            (self.take_pod(), "DEL")
        };
        let (node, usual) = (self.plexus.node, self.usual);
        let point = KillPoint::choose(&mut self.random, node, operation, &pod.networks, usual);
        let kill = Kill::choose(&mut self.random);
        // A gate holds one plugin at a time.
        let gated = matches!(point, KillPoint::Plugin(..));
        let other = (!gated && self.random.one_in(3)).then(|| self.new_pod());
        self.log(&format!(
            "{operation} of {} on {:?}: {kill:?} {point:?}",
            pod.pod.name, pod.networks
        ));
        if let Some(other) = &other {
            let line = format!("  and ADD of {} on {:?}", other.pod.name, other.networks);
            self.log(&line);
        }
        Round {
            pod,
            is_add,
            other,
            kill,
            point,
            release_first: self.random.one_in(2),
            delay: Duration::from_micros(self.random.below(50_000)),
        }
    }

    /// Runs the calls of a round and kills the processes of the round. Returns whether the call
    /// succeeded and whether the other pod is running.
    fn run_calls(&mut self, round: &Round<'n>) -> (bool, Option<bool>) {
        let (sender, shims) = mpsc::channel();
        let (runtime, flavour) = (&self.plexus.runtime, self.flavour);
        let new_daemon = self.plexus.new_daemon();
        thread::scope(|scope| {
            let call = pod_calls(runtime, flavour, &round.pod, sender);
            let call = scope.spawn(move || {
                if round.is_add {
                    call.start()
                } else {
                    call.stop().ok()
                }
            });
            let other = round.other.as_ref().map(|other| {
                let call = pod_calls(runtime, flavour, other, no_receiver());
                scope.spawn(move || call.start())
            });
            let held = round.point.wait(self.usual);
            let mut killer = Killer {
                node: self.plexus.node,
                daemon: &mut self.plexus.daemon,
                round,
                held,
                kills: &mut self.kills,
            };
            killer.kill(new_daemon, &shims);
            (
                call.join().expect("no panic"),
                other.map(|other| other.join().expect("no panic")),
            )
        })
    }

    /// Waits until the node has only the state of the running pods, and checks these pods.
    fn settle(&mut self) {
        let (stopping, running) = self.pods.drain(..).partition(|pod| pod.stopping);
        self.pods = running;
        let stopping: Vec<RunningPod<'n>> = stopping;
        for pod in stopping {
            let failures: Vec<_> = (0..5)
                .map(|_| self.calls(&pod).stop())
                .take_while(|output| !output.ok())
                .collect();
            assert!(
                failures.len() < 5,
                "{} does not stop: {failures:?}",
                pod.pod.name
            );
        }
        let (node, expected) = (self.plexus.node, self.expected_state());
        NodeWatch::new(node, &watched_dirs()).wait_while(|| expected.difference(node));
        for pod in &self.pods {
            let (name, check) = (&pod.pod.name, self.plexus.runtime.check(&target(pod)));
            assert!(check.ok(), "{name} is damaged: {check:?}");
            assert_eq!(pod.sandbox.links(), pod.links, "{name} is damaged");
        }
    }

    fn expected_state(&self) -> ExpectedState {
        let mut expected = ExpectedState::default();
        for pod in &self.pods {
            let container = pod.sandbox.id().to_owned();
            for network in &pod.networks {
                let lease = ((*network).to_owned(), container.clone());
                expected.leases.insert(lease);
            }
            let bridges = pod.networks.iter().filter(|network| **network != "lan");
            expected.veths += bridges.count();
            expected.containers.insert(container);
        }
        expected
    }

    /// A new pod that is not started yet.
    fn new_pod(&mut self) -> RunningPod<'n> {
        let name = format!("pod{}", self.created);
        self.created += 1;
        let secondary = self.random.some(&SECONDARY);
        let mut pod = Pod::new(&name);
        if !secondary.is_empty() {
            pod = pod.with_networks(secondary.join(","));
        }
        RunningPod {
            sandbox: self.plexus.node.sandbox(&name),
            pod,
            networks: [DEFAULT].into_iter().chain(secondary).collect(),
            links: Vec::new(),
            stopping: false,
        }
    }

    /// Removes a random pod from the running ones.
    fn take_pod(&mut self) -> RunningPod<'n> {
        let index = self.random.below(self.pods.len() as u64);
        self.pods.remove(usize::try_from(index).expect("an index"))
    }

    fn add_running(&mut self, pod: RunningPod<'n>) {
        let links = pod.sandbox.links();
        assert_eq!(
            links.len(),
            pod.networks.len() + 1,
            "{} lacks an interface: {links:?}",
            pod.pod.name
        );
        self.pods.push(RunningPod { links, ..pod });
    }

    fn calls<'a>(&'a self, pod: &'a RunningPod<'n>) -> PodCalls<'a, 'n> {
        pod_calls(&self.plexus.runtime, self.flavour, pod, no_receiver())
    }

    fn log(&mut self, step: &str) {
        let _ = writeln!(self.steps, "{step}");
    }
}

impl Drop for Sequence<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.steps);
        }
    }
}

/// Kills the processes of a round.
struct Killer<'a, 'n> {
    node: &'n Node,
    daemon: &'a mut Daemon<'n>,
    round: &'a Round<'n>,
    held: Option<Held>,
    kills: &'a mut u64,
}

impl<'n> Killer<'_, 'n> {
    fn kill(&mut self, new_daemon: Daemon<'n>, shims: &Receiver<u32>) {
        match self.round.kill {
            Kill::Daemon => self.kill_daemon(true),
            Kill::DaemonUntilCallEnds => self.kill_daemon(false),
            Kill::Shim => self.kill_shim(shims),
            Kill::DaemonAndShim => {
                self.kill_daemon(false);
                self.kill_shim(shims);
            }
            Kill::Successor | Kill::Predecessor => self.kill_one_of_two(new_daemon),
        }
    }

    fn kill_daemon(&mut self, restart: bool) {
        self.daemon.kill();
        *self.kills += 1;
        self.round.point.disarm(self.node);
        if self.round.release_first {
            self.held = None;
        }
        if restart {
            self.daemon.launch();
            self.daemon.wait_ready();
        }
        self.held = None;
    }

    /// Kills the shim that was started last.
    fn kill_shim(&mut self, shims: &Receiver<u32>) {
        // Waits for the first shim: the call may not have started yet.
        let first = shims.recv().ok();
        let Some(pid) = shims.try_iter().last().or(first) else {
            return;
        };
        let pid = Pid::from_raw(i32::try_from(pid).expect("a process ID"));
        // Fails if the shim has exited.
        let _ = kill(pid, Signal::SIGKILL);
        *self.kills += 1;
        self.round.point.disarm(self.node);
        self.held = None;
    }

    /// Starts a new daemon, and kills it or the old one while it takes over.
    fn kill_one_of_two(&mut self, mut new: Daemon<'n>) {
        new.launch();
        thread::sleep(self.round.delay);
        *self.kills += 1;
        self.round.point.disarm(self.node);
        if self.round.kill == Kill::Successor {
            new.kill();
        } else {
            self.daemon.kill();
            *self.daemon = new;
        }
        self.held = None;
    }
}

fn pod_calls<'a, 'n>(
    runtime: &'a Runtime<'n>,
    flavour: Flavour,
    pod: &'a RunningPod<'n>,
    shims: Sender<u32>,
) -> PodCalls<'a, 'n> {
    PodCalls {
        runtime,
        flavour,
        sandbox: &pod.sandbox,
        target: target(pod),
        shims,
    }
}

/// A channel whose receiver was dropped.
fn no_receiver() -> Sender<u32> {
    mpsc::channel().0
}

fn target(pod: &RunningPod<'_>) -> CniTarget {
    pod.sandbox.target(&pod.pod)
}

/// A network with a scripted plugin before and after its real one.
fn with_scripted_plugins(node: &Node, name: &str) -> Value {
    let plugins = ["before", "after"].map(|position| {
        let plugin = format!("{name}-{position}");
        node.plugin(&plugin, &Script::new());
        json!({"type": plugin})
    });
    let mut config = real_networks::config(name);
    let [before, after] = plugins;
    config["plugins"] = json!([before, real_networks::plugin(name), after]);
    config
}
