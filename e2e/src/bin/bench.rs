//! `make bench`: what Plexus adds to the plugins of a pod, with two networks besides the default one.
//!
//!     bench [--pods NUMBER]
//!
//! The plugins are scripted ones that do nothing, executed by a runtime in turn: once by themselves, once through
//! Plexus. The difference is what Plexus costs.

use std::time::{Duration, Instant};

use plexus_e2e::binaries::binary;
use plexus_e2e::plexus::write;
use plexus_e2e::{Daemon, Flavour, Manifests, Node, Pod, Runtime, Script, Step, Target};
use serde_json::json;

/// The plugins of a pod: the default network's, and two more.
const PLUGINS: [&str; 3] = ["pods", "lan", "storage"];

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
    let result = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/24"}]});
    for plugin in PLUGINS {
        node.plugin(
            plugin,
            &Script::new().on("ADD", [Step::Result(result.clone())]),
        );
    }
    let manifests = Manifests::new(node.scratch().join("manifests"));
    for plugin in &PLUGINS[1..] {
        manifests.definition(plugin, &json!({"cniVersion": "1.0.0", "type": plugin}));
    }
    let network = write(
        &node,
        "default.conf",
        &json!({"cniVersion": "1.0.0", "name": "pods", "type": "pods"}),
    );
    let config = json!({"binDir": node.bin_dir(), "clusterNetwork": network});
    let _daemon = Daemon::start(&node, &config, manifests.dir());
    let capabilities = json!({"io.kubernetes.cri.pod-annotations": true});
    let conf = json!({"cniVersion": "1.0.0", "name": "plexus", "type": "plexus", "capabilities": capabilities});
    let plexus = Runtime::new(&node, Flavour::Containerd, binary("plexus"), conf);
    let alone = PLUGINS.map(|plugin| {
        let config = json!({"cniVersion": "1.0.0", "name": plugin, "type": plugin});
        Runtime::new(
            &node,
            Flavour::Containerd,
            node.bin_dir().join(plugin),
            config,
        )
    });

    let (mut adds, mut dels) = (Vec::new(), Vec::new());
    for number in 0..pods {
        let pod = Pod::new(&format!("pod-{number}")).with_networks("lan, storage");
        let sandbox = node.sandbox(&pod.name);
        let target = Target::new(&sandbox, "eth0", &pod);
        let through = timed(|| assert!(plexus.add(&target).ok()));
        adds.push((
            timed(|| {
                for runtime in &alone {
                    assert!(runtime.add(&target).ok());
                }
            }),
            through,
        ));
        let through = timed(|| plexus.del(&target).expect_silence());
        dels.push((
            timed(|| {
                for runtime in &alone {
                    runtime.del(&target).expect_silence();
                }
            }),
            through,
        ));
        sandbox.remove();
    }
    println!(
        "{pods} pods, {} networks each; medians in ms",
        PLUGINS.len()
    );
    println!("       plugins alone   through Plexus   added");
    for (verb, times) in [("ADD", adds), ("DEL", dels)] {
        let alone = median(times.iter().map(|(alone, _)| *alone));
        let through = median(times.iter().map(|(_, through)| *through));
        let added = median(
            times
                .iter()
                .map(|(alone, through)| through.saturating_sub(*alone)),
        );
        println!(
            "{verb}    {:13.2}   {:14.2}   {:5.2}",
            ms(alone),
            ms(through),
            ms(added)
        );
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
