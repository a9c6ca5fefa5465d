//! One sequence: a node, its pods, and what is done to them.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::PLUGINS;
use super::blow::{Blow, When};
use super::random::Random;
use super::runtime::Steps;
use crate::left::{Expected, LEASES, LEDGER, SPOOL};
use crate::plexus::{runtime_of, write};
use crate::{
    Changes, Daemon, Flavour, Held, Manifests, Node, Pod, Runtime, Sandbox, Script, Target, ip,
};

/// The default network, and those that a pod may ask for besides it.
const DEFAULT: &str = "pods";
const OTHERS: [&str; 2] = ["lan", "storage"];

/// A sequence that is being played.
pub struct World<'n> {
    node: &'n Node,
    random: Random,
    flavour: Flavour,
    runtime: Runtime<'n>,
    daemon: Daemon<'n>,
    config: Value,
    manifests: Manifests,
    pods: Vec<Member<'n>>,
    made: usize,
    /// How long an ADD takes here.
    usual: Duration,
    kills: u64,
    story: String,
}

/// A pod that the runtime has.
struct Member<'n> {
    sandbox: Sandbox<'n>,
    pod: Pod,
    networks: Vec<&'static str>,
    links: Vec<ip::Link>,
    /// Its DEL has failed, and kubelet will come again.
    stopping: bool,
}

impl<'n> World<'n> {
    /// Sets it up.
    pub fn new(node: &'n Node, plugins: &Path, seed: u64) -> Self {
        let mut random = Random::new(seed);
        node.uplink("uplink0");
        node.real_plugins(plugins, &PLUGINS);
        let default = network(
            node,
            DEFAULT,
            &json!({"type": "bridge", "bridge": "cni0", "isGateway": true}),
            "10.5.0.0/16",
        );
        let file = write(node, "pods.conflist", &default);
        let manifests = Manifests::new(node.scratch().join("manifests"));
        let lan = network(
            node,
            "lan",
            &json!({"type": "macvlan", "master": "uplink0"}),
            "10.6.0.0/16",
        );
        manifests.definition("lan", &lan);
        manifests.definition(
            "storage",
            &network(
                node,
                "storage",
                &json!({"type": "bridge", "bridge": "br1", "isGateway": true}),
                "10.7.0.0/16",
            ),
        );
        let config = json!({
            "binDir": node.bin_dir(), "clusterNetwork": file, "recoveryInterval": "30ms", "goneGap": "60ms",
        });
        let runtime = json!({
            "daemonWaitAdd": "5s",
            "daemonWaitDel": random.pick(&["1ms", "50ms", "500ms"]),
            "delWhenDown": random.pick(&["retry", "spool"]),
        });
        let flavour = random.pick(&[Flavour::Containerd, Flavour::Crio]);
        Self {
            node,
            story: format!(
                "sequence {seed}: {flavour:?}, {} for a DEL\n",
                runtime["daemonWaitDel"]
            ),
            random,
            flavour,
            runtime: runtime_of(node, flavour, runtime),
            daemon: Daemon::new(node, &config, manifests.dir()),
            config,
            manifests,
            pods: Vec::new(),
            made: 0,
            usual: Duration::ZERO,
            kills: 0,
        }
    }

    /// Plays it; how often something was killed. Panics where anything is left, or anything living is hurt.
    pub fn play(mut self) -> u64 {
        self.daemon.launch();
        self.daemon.wait_ready();
        for _ in 0..=self.random.below(3) {
            let start = Instant::now();
            let member = self.member();
            assert!(
                self.steps(&member).begin(),
                "a pod cannot begin undisturbed"
            );
            self.usual = start.elapsed();
            self.lives(member);
        }
        for _ in 0..=self.random.below(3) {
            self.round();
            self.settle();
        }
        for index in 0..self.pods.len() {
            let answer = self.steps(&self.pods[index]).end();
            assert!(answer.ok(), "a pod cannot end undisturbed: {answer:?}");
        }
        self.pods.clear();
        self.settle();
        self.daemon.stop();
        self.kills
    }

    /// A call that is hit, and perhaps another beside it, or a sandbox that ends without a word.
    fn round(&mut self) {
        if self.random.one_in(8) && !self.pods.is_empty() {
            let member = self.take();
            let _ = writeln!(
                self.story,
                "the sandbox of {} is removed without a DEL",
                member.pod.name
            );
            member.sandbox.remove();
            return;
        }
        let begins = self.pods.is_empty() || self.random.one_in(2);
        let (hit, verb) = if begins {
            (self.member(), "ADD")
        } else {
            (self.take(), "DEL")
        };
        let when = When::choose(&mut self.random, self.node, verb, &hit.networks, self.usual);
        let blow = Blow::choose(&mut self.random);
        // At a gate there is room for one.
        let beside =
            (!matches!(when, When::Inside(..)) && self.random.one_in(3)).then(|| self.member());
        let at_once = self.random.one_in(2);
        let jitter = Duration::from_micros(self.random.below(50_000));
        let _ = writeln!(
            self.story,
            "{verb} of {} on {:?}: {blow:?} {when:?}",
            hit.pod.name, hit.networks
        );
        if let Some(beside) = &beside {
            let _ = writeln!(
                self.story,
                "  and ADD of {} on {:?}",
                beside.pod.name, beside.networks
            );
        }
        let (runtime, flavour) = (&self.runtime, self.flavour);
        let (sender, shims) = mpsc::channel();
        let steps = Steps {
            runtime,
            flavour,
            sandbox: &hit.sandbox,
            target: target(&hit),
            shims: sender,
        };
        let (mut kills, mut successor) = (0, None);
        let (done, beside_lives) = thread::scope(|scope| {
            let call = scope.spawn(move || {
                if begins {
                    steps.begin()
                } else {
                    steps.end().ok()
                }
            });
            let other = beside.as_ref().map(|member| {
                let steps = Steps {
                    runtime,
                    flavour,
                    sandbox: &member.sandbox,
                    target: target(member),
                    shims: mpsc::channel().0,
                };
                scope.spawn(move || steps.begin())
            });
            let held = when.wait(self.usual);
            let mut strike = Strike {
                node: self.node,
                daemon: &mut self.daemon,
                when: &when,
                held,
                at_once,
                kills: &mut kills,
            };
            match blow {
                Blow::Daemon => strike.daemon(true),
                Blow::DaemonForLong => strike.daemon(false),
                Blow::Shim => strike.shim(&shims),
                Blow::Both => {
                    strike.daemon(false);
                    strike.shim(&shims);
                }
                Blow::Successor | Blow::Predecessor => {
                    let mut second = Daemon::new(self.node, &self.config, self.manifests.dir());
                    second.launch();
                    // At any instant of its taking over.
                    thread::sleep(jitter);
                    successor = Some(strike.one_of(second, blow == Blow::Successor));
                }
            }
            let done = call.join().expect("a runtime does not panic");
            (
                done,
                other.map(|other| other.join().expect("a runtime does not panic")),
            )
        });
        self.kills += kills;
        if let Some(Some(second)) = successor {
            self.daemon = second;
        }
        if blow.lasts() {
            self.daemon.launch();
        }
        self.daemon.wait_ready();
        let _ = writeln!(
            self.story,
            "  which {}",
            if done { "succeeded" } else { "failed" }
        );
        match (begins, done) {
            (true, true) => self.lives(hit),
            (false, false) if flavour == Flavour::Containerd => self.pods.push(Member {
                stopping: true,
                ..hit
            }),
            _ => {}
        }
        if let (Some(beside), Some(true)) = (beside, beside_lives) {
            self.lives(beside);
        }
    }

    /// Waits until nothing is left but what the living pods have, and looks whether they have it.
    fn settle(&mut self) {
        for index in (0..self.pods.len())
            .rev()
            .filter(|index| self.pods[*index].stopping)
            .collect::<Vec<_>>()
        {
            let member = self.pods.remove(index);
            let answers: Vec<_> = (0..5)
                .map(|_| self.steps(&member).end())
                .take_while(|answer| !answer.ok())
                .collect();
            assert!(
                answers.len() < 5,
                "{} cannot be stopped: {answers:?}",
                member.pod.name
            );
        }
        let expected = self.expected();
        let networks = [DEFAULT, OTHERS[0], OTHERS[1]].map(|network| format!("{LEASES}/{network}"));
        let dirs: Vec<_> = [LEDGER, SPOOL]
            .into_iter()
            .chain(networks.iter().map(String::as_str))
            .map(Path::new)
            .collect();
        let changes = Changes::watch(self.node, &dirs);
        changes.until_none(|| self.node.run(|| expected.problem()));
        for member in &self.pods {
            let answer = self.runtime.check(&target(member));
            assert!(answer.ok(), "{} is hurt: {answer:?}", member.pod.name);
            assert_eq!(
                member.sandbox.links(),
                member.links,
                "{} is hurt",
                member.pod.name
            );
        }
    }

    fn expected(&self) -> Expected {
        let mut expected = Expected::default();
        for member in &self.pods {
            expected.containers.insert(member.sandbox.id().to_owned());
            for network in &member.networks {
                expected
                    .leases
                    .insert(((*network).to_owned(), member.sandbox.id().to_owned()));
            }
            expected.veths += member
                .networks
                .iter()
                .filter(|network| **network != "lan")
                .count();
        }
        expected
    }

    /// A pod that is to begin.
    fn member(&mut self) -> Member<'n> {
        let name = format!("pod{}", self.made);
        self.made += 1;
        let mut others = OTHERS.to_vec();
        if self.random.one_in(2) {
            others.reverse();
        }
        others.truncate(usize::try_from(self.random.below(3)).expect("it is small"));
        let mut pod = Pod::new(&name);
        if !others.is_empty() {
            pod = pod.with_networks(others.join(","));
        }
        let networks = [DEFAULT].into_iter().chain(others).collect();
        Member {
            sandbox: self.node.sandbox(&name),
            pod,
            networks,
            links: Vec::new(),
            stopping: false,
        }
    }

    /// A pod that lives, which is no longer one of them.
    fn take(&mut self) -> Member<'n> {
        let index = self.random.below(self.pods.len() as u64);
        self.pods.remove(usize::try_from(index).expect("an index"))
    }

    fn lives(&mut self, member: Member<'n>) {
        let links = member.sandbox.links();
        assert_eq!(
            links.len(),
            member.networks.len() + 1,
            "{} lacks an interface: {links:?}",
            member.pod.name
        );
        self.pods.push(Member { links, ..member });
    }

    fn steps<'a>(&'a self, member: &'a Member<'n>) -> Steps<'a, 'n> {
        let (runtime, flavour) = (&self.runtime, self.flavour);
        Steps {
            runtime,
            flavour,
            sandbox: &member.sandbox,
            target: target(member),
            shims: mpsc::channel().0,
        }
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.story);
        }
    }
}

/// The means of a blow.
struct Strike<'a, 'n> {
    node: &'n Node,
    daemon: &'a mut Daemon<'n>,
    when: &'a When,
    held: Option<Held>,
    /// Whether a plugin that is held goes on before plexusd is started again.
    at_once: bool,
    kills: &'a mut u64,
}

impl<'n> Strike<'_, 'n> {
    /// Kills plexusd, and starts it again where `back`.
    fn daemon(&mut self, back: bool) {
        self.daemon.kill9();
        *self.kills += 1;
        self.when.disarm(self.node);
        if self.at_once {
            self.held = None;
        }
        if back {
            self.daemon.launch();
            self.daemon.wait_ready();
        }
        self.held = None;
    }

    /// Kills the shim that was started last.
    fn shim(&mut self, shims: &Receiver<u32>) {
        // There is one at least: the call has begun, or is about to.
        let first = shims.recv().ok();
        let Some(pid) = shims.try_iter().last().or(first) else {
            return;
        };
        // It may have ended.
        let _ = kill(
            Pid::from_raw(i32::try_from(pid).expect("a process ID")),
            Signal::SIGKILL,
        );
        *self.kills += 1;
        self.when.disarm(self.node);
        self.held = None;
    }

    /// Kills one of two. The other where that is the second.
    fn one_of(&mut self, mut second: Daemon<'n>, kill_second: bool) -> Option<Daemon<'n>> {
        *self.kills += 1;
        self.when.disarm(self.node);
        if kill_second {
            second.kill9();
        } else {
            self.daemon.kill9();
        }
        self.held = None;
        (!kill_second).then_some(second)
    }
}

fn target(member: &Member<'_>) -> Target {
    Target::new(&member.sandbox, "eth0", &member.pod)
}

/// A network whose main plugin stands between two scripted ones.
fn network(node: &Node, name: &str, main: &Value, subnet: &str) -> Value {
    let plugin = |when: &str| {
        let plugin = format!("{name}-{when}");
        node.plugin(&plugin, &Script::new());
        json!({"type": plugin})
    };
    let mut main = main.clone();
    main["ipam"] = json!({"type": "host-local", "subnet": subnet});
    json!({"cniVersion": "1.0.0", "name": name, "plugins": [plugin("before"), main, plugin("after")]})
}
