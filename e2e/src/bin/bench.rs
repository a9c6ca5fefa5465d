//! `make bench`: the time that Plexus adds to the plugins of a pod with three networks.
//!
//!     bench [--pods NUMBER]
//!
//! The plugins are scripted ones that do nothing. A runtime executes them directly and through
//! Plexus in turn; the difference is the cost of Plexus. If this user can make control groups, plexusd
//! has one of its own, as in its container, so that plugins have to leave it.

use std::time::{Duration, Instant};

use plexus_e2e::cgroup::{self, Cgroup};
use plexus_e2e::plexus::MAIN;
use plexus_e2e::{CniTarget, Flavour, Node, Plexus, Runtime, Script, Step};
use serde_json::json;

/// The plugins of a pod: that of the default network, and two more.
const PLUGINS: [&str; 3] = [MAIN, "lan", "storage"];

/// Durations without and with Plexus.
type Times = Vec<(Duration, Duration)>;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let pods = match (
        arguments.next().as_deref(),
        arguments.next().and_then(|text| text.parse().ok()),
    ) {
        (None, None) => 200,
        (Some("--pods"), Some(pods)) => pods,
        _ => panic!("bench [--pods NUMBER]"),
    };
    let node = Node::new().expect("a node");
    let mut plexus = Plexus::start_with(&node, json!({"binDir": node.bin_dir()}));
    let group = separate(&node, &plexus);
    let result = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/24"}]});
    for plugin in PLUGINS {
        plexus.network(
            plugin,
            &Script::new().on("ADD", [Step::Result(result.clone())]),
        );
    }
    let direct = PLUGINS.map(|plugin| {
        let config = json!({"cniVersion": "1.0.0", "name": plugin, "type": plugin});
        let program = node.bin_dir().join(plugin);
        Runtime::new(&node, Flavour::Containerd, program, config)
    });
    let (adds, dels) = measure(&plexus, &direct, pods);
    match &group {
        Ok(_) => println!("plexusd has a control group of its own"),
        Err(error) => println!("plexusd has no control group of its own: {error}"),
    }
    println!(
        "{pods} pods, {} networks each; medians in ms",
        PLUGINS.len()
    );
    println!("       plugins alone   through Plexus   added");
    for (operation, times) in [("ADD", adds), ("DEL", dels)] {
        let direct = median(times.iter().map(|(direct, _)| *direct));
        let through = median(times.iter().map(|(_, through)| *through));
        let added = times
            .iter()
            .map(|(direct, through)| through.saturating_sub(*direct));
        println!(
            "{operation}    {:13.2}   {:14.2}   {:5.2}",
            ms(direct),
            ms(through),
            ms(median(added))
        );
    }
    plexus.daemon.stop();
}

/// Moves plexusd to a control group of its own.
fn separate(node: &Node, plexus: &Plexus<'_>) -> Result<Cgroup, String> {
    cgroup::mount_on(node)?;
    let group = Cgroup::new("bench")?;
    group.join(plexus.daemon.pid());
    Ok(group)
}

fn measure(plexus: &Plexus<'_>, direct: &[Runtime<'_>], pods: usize) -> (Times, Times) {
    let add = |runtime: &Runtime<'_>, target: &CniTarget| assert!(runtime.add(target).ok());
    let del = |runtime: &Runtime<'_>, target: &CniTarget| runtime.del(target).expect_success();
    let (mut adds, mut dels) = (Vec::new(), Vec::new());
    for number in 0..pods {
        let (sandbox, target) = plexus.sandbox(&format!("pod-{number}"), "lan, storage");
        let through = timed(|| add(&plexus.runtime, &target));
        let alone = timed(|| direct.iter().for_each(|runtime| add(runtime, &target)));
        adds.push((alone, through));
        let through = timed(|| del(&plexus.runtime, &target));
        let alone = timed(|| direct.iter().for_each(|runtime| del(runtime, &target)));
        dels.push((alone, through));
        sandbox.remove();
    }
    (adds, dels)
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
