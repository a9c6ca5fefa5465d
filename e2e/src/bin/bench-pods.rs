//! The second half of `make bench`: the time that containerd takes for the sandbox of a pod without
//! and with Plexus.
//!
//! There are two nodes with a containerd each. On one the network is a bridge, on the other it is
//! Plexus with the same bridge as its default network. Pods start and stop on both in turn. Prints
//! the reason if containerd is missing.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::cri::Cri;
use plexus_e2e::plexus::NET_D;
use plexus_e2e::{Containerd, Node, Pod, real_networks};

const PODS: usize = 50;
const PLUGINS: [&str; 4] = ["bridge", "macvlan", "host-local", "loopback"];

fn main() -> ExitCode {
    let plugins = match Containerd::missing().map_or_else(|| plugin_dir(&PLUGINS), Err) {
        Ok(plugins) => plugins,
        Err(missing) => {
            println!("no pods under containerd: {missing}");
            return ExitCode::SUCCESS;
        }
    };
    let nodes = [(); 2].map(|()| Node::new().expect("a node"));
    let [without, with] = &nodes;
    set_up_bridge(without, &plugins);
    with.real_plugins(&plugins, &["loopback"]);
    let plexus = real_networks::plexus_on(with, &plugins).installed().start();
    real_networks::define(&plexus.manifests);
    let containerds = nodes.each_ref().map(Containerd::start_for_pods);
    let [without, with] = containerds.each_ref().map(Containerd::cri);

    let kinds = [
        ("the bridge alone", &without, Pod::new("web")),
        ("Plexus, the same bridge", &with, Pod::new("web")),
        (
            "Plexus, two networks more",
            &with,
            Pod::new("web").with_networks("lan, storage"),
        ),
    ];
    let mut times = kinds.each_ref().map(|_| (Vec::new(), Vec::new()));
    for _ in 0..PODS {
        for ((_, cri, pod), (runs, stops)) in kinds.iter().zip(&mut times) {
            let (run, stop) = run_and_stop(cri, pod);
            runs.push(run);
            stops.push(stop);
        }
    }
    let (_, version) = with.version().expect("a version");
    println!("{PODS} pods each under containerd {version}; medians in ms");
    println!("                             RunPodSandbox   StopPodSandbox");
    for ((name, ..), (runs, stops)) in kinds.iter().zip(times) {
        println!("{name:<28} {:13.1}   {:14.1}", median(runs), median(stops));
    }
    ExitCode::SUCCESS
}

/// Configures the bridge as the network of the runtime, without Plexus.
fn set_up_bridge(node: &Node, plugins: &Path) {
    node.real_plugins(plugins, &PLUGINS);
    node.run(|| fs::create_dir(NET_D)).expect("a directory");
    let config = real_networks::config(real_networks::DEFAULT);
    node.write(
        Path::new(NET_D).join("10-pods.conflist"),
        config.to_string(),
    );
}

fn run_and_stop(cri: &Cri, pod: &Pod) -> (Duration, Duration) {
    let start = Instant::now();
    let id = cri.run(pod).expect("RunPodSandbox");
    let run = start.elapsed();
    let start = Instant::now();
    cri.stop(&id).expect("StopPodSandbox");
    let stop = start.elapsed();
    cri.remove(&id).expect("RemovePodSandbox");
    (run, stop)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
