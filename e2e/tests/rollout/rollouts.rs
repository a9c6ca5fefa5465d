//! Replaces plexusd again and again on a node of a cluster.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::mem;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use plexus_e2e::leftovers::{ExpectedState, watched_dirs};
use plexus_e2e::plexus::NET_D;
use plexus_e2e::real_networks::{self, SECONDARY};
use plexus_e2e::sequences::Random;
use plexus_e2e::{Cluster, Daemon, Node, NodeWatch, PlexusInCluster};
use serde_json::json;

use crate::phase::Phase;
use crate::pods;
use crate::workload::Workload;

/// The number of pods at the same time.
const PODS: u64 = 4;
/// The number of pods that are completed between two updates.
const PODS_BETWEEN: u64 = 2;

/// Replaces plexusd `count` times. Panics if a pod fails permanently, STATUS fails, or anything is
/// left behind.
pub fn run(node: &Node, cluster: &Cluster, plugins: &Path, seed: u64, count: u64) {
    let mut plexus = set_up(node, cluster, plugins);
    let unused = plexus.new_daemon();
    let mut daemon = mem::replace(&mut plexus.daemon, unused);
    daemon.restart();
    let workload = Workload::new(&plexus);
    workload.times.enter(Phase::Quiet);
    let mut report = Report {
        workload: &workload,
        seed,
        steps: String::new(),
    };
    let (stop, stopped) = mpsc::channel();
    thread::scope(|scope| {
        // Also stops the threads if this one panics.
        let _stop = Stop {
            workload: &workload,
            _status: stop,
        };
        let workload = &workload;
        scope.spawn(move || workload.call_status(&stopped));
        for thread in 0..PODS {
            scope.spawn(move || {
                pods::run(workload, thread, seed).unwrap_or_else(|reason| workload.fail(reason));
            });
        }
        let mut replacer = Replacer {
            plexus: &plexus,
            daemon: &mut daemon,
            random: Random::new(seed),
        };
        for step in 0..count {
            workload.wait_completed(PODS_BETWEEN);
            let phase = replacer.choose(step);
            let _ = writeln!(report.steps, "step {step}: {phase:?}");
            workload.times.enter(phase);
            replacer.replace(phase);
            workload.wait_completed(1);
            workload.times.enter(Phase::Quiet);
        }
        workload.wait_completed(PODS);
    });
    let completed = workload.completed();
    check_nothing_left(node, &mut daemon);
    check_times(&workload);
    println!("{completed} pods completed\n{}", workload.times.report());
}

fn set_up<'n>(node: &'n Node, cluster: &'n Cluster, plugins: &Path) -> PlexusInCluster<'n> {
    let keys = json!({
        "binDir": node.bin_dir(), "recoveryInterval": "200ms", "goneGap": "400ms",
        "logLevel": "debug",
    });
    let builder = real_networks::plexus_on(node, plugins)
        .installed()
        .config(keys);
    let plexus = PlexusInCluster::build(builder, cluster);
    for name in SECONDARY {
        plexus
            .namespace
            .definition(name, &real_networks::config(name));
    }
    plexus
}

/// Checks the node while the daemon is running and after it was stopped.
fn check_nothing_left(node: &Node, daemon: &mut Daemon<'_>) {
    let mut dirs = watched_dirs();
    dirs.push("/run/netns".to_owned());
    NodeWatch::new(node, &dirs).wait_while(|| ExpectedState::default().difference(node));
    assert_eq!(node.list("/run/netns"), [""; 0], "sandboxes");
    assert_eq!(node.list("/run/plexus"), ["plexus.sock"]);
    daemon.stop();
    assert_eq!(node.list("/run/plexus"), [""; 0]);
    let state: BTreeSet<_> = node.list("/var/lib/plexus").into_iter().collect();
    let known = ["definitions.json", "ledger", "lock", "spool"].map(str::to_owned);
    assert!(
        state.is_subset(&known.into()),
        "in the state directory: {state:?}"
    );
    assert_eq!(node.list(NET_D), ["00-plexus.conflist"]);
    let programs = node.list(node.bin_dir());
    assert!(
        !programs.iter().any(|name| name.starts_with('.')),
        "{programs:?}"
    );
    assert_eq!(node.processes(), BTreeSet::new(), "processes");
}

/// Checks that no call took long. A call without a daemon waits for the pause, for the start of the
/// next daemon, and for up to 200 ms, the longest pause of the shim. Usual times are a tenth of
/// these limits.
fn check_times(workload: &Workload<'_, '_>) {
    use Phase::{Gap, Killed, KilledAfterTakeover, Race, Surge};
    for (operation, limit) in [("STATUS", 5), ("ADD", 10), ("DEL", 10), ("CHECK", 10)] {
        for phase in [Surge, Gap, Killed, KilledAfterTakeover, Race] {
            let longest = workload.times.longest(phase, operation);
            assert!(
                longest < Duration::from_secs(limit),
                "{operation} took {longest:?} during {phase:?}"
            );
        }
    }
}

/// Prints the seed, the steps and the times if the test fails.
struct Report<'a> {
    workload: &'a Workload<'a, 'a>,
    seed: u64,
    steps: String,
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "seed {} (PLEXUS_SEED)\n{}{}",
                self.seed,
                self.steps,
                self.workload.times.report()
            );
        }
    }
}

/// Stops the threads of the runtime when dropped.
struct Stop<'a> {
    workload: &'a Workload<'a, 'a>,
    _status: mpsc::Sender<()>,
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.workload.finish();
    }
}

/// Replaces the daemon.
struct Replacer<'a, 'n> {
    plexus: &'a PlexusInCluster<'n>,
    daemon: &'a mut Daemon<'n>,
    random: Random,
}

impl<'n> Replacer<'_, 'n> {
    /// The next phase: each one once, then random ones.
    fn choose(&mut self, step: u64) -> Phase {
        use Phase::{Gap, Killed, KilledAfterTakeover, Race, Surge};
        let all = [Surge, Gap, Killed, KilledAfterTakeover, Race];
        let first = usize::try_from(step).ok().and_then(|step| all.get(step));
        first.copied().unwrap_or_else(|| {
            self.random
                .pick(&[Surge, Surge, Surge, Gap, Gap, Killed, all[3], Race])
        })
    }

    fn replace(&mut self, phase: Phase) {
        match phase {
            Phase::Quiet => {}
            Phase::Surge => {
                let new = self.plexus.start_successor();
                self.switch_to(new);
            }
            Phase::Gap => {
                self.daemon.stop();
                self.pause(300);
                self.daemon.launch();
            }
            Phase::Killed => {
                self.daemon.kill();
                self.daemon.launch();
            }
            Phase::KilledAfterTakeover => {
                let mut new = self.plexus.start_successor();
                self.pause(50);
                new.kill();
            }
            Phase::Race => self.race(),
        }
        self.daemon.wait_ready();
    }

    fn race(&mut self) {
        let (mut one, mut other) = (self.plexus.new_daemon(), self.plexus.new_daemon());
        one.launch();
        self.pause(20);
        other.launch();
        one.wait_ready();
        other.wait_ready();
        let (winner, loser) = if self.random.one_in(2) {
            (one, &mut other)
        } else {
            (other, &mut one)
        };
        self.pause(50);
        loser.stop();
        self.switch_to(winner);
    }

    /// Stops the old daemon when the new one is ready.
    fn switch_to(&mut self, mut new: Daemon<'n>) {
        new.wait_ready();
        mem::replace(self.daemon, new).stop();
    }

    /// Sleeps for a random time. The time is a parameter of the test, not synchronisation.
    fn pause(&mut self, max_ms: u64) {
        thread::sleep(Duration::from_millis(self.random.below(max_ms)));
    }
}
