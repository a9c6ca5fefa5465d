//! The second half of `make bench`: how long containerd takes for a pod's sandbox without and with Plexus.
//!
//! Two nodes of the same kind, a containerd on each: one has the bridge for its network, the other Plexus, whose default
//! network is such a bridge. Pods come and go in turn. Prints why where there is no containerd.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::cri::Cri;
use plexus_e2e::{Containerd, Daemon, Manifests, Node, Pod};
use serde_json::{Value, json};

const PODS: usize = 50;
const NET_D: &str = "/etc/cni/net.d";
const PLUGINS: [&str; 4] = ["bridge", "macvlan", "host-local", "loopback"];

fn main() -> ExitCode {
    let plugins = match Containerd::missing().map_or_else(|| plugin_dir(&PLUGINS), Err) {
        Ok(plugins) => plugins,
        Err(missing) => {
            println!("no pods under containerd: {missing}");
            return ExitCode::SUCCESS;
        }
    };
    let (plain, ours) = (furnish(&plugins), furnish(&plugins));
    let bridge = json!({
        "cniVersion": "1.0.0", "name": "pods", "plugins": [{
            "type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": addresses("10.4.0.0/16"),
        }],
    });
    plain
        .run(|| {
            fs::write(
                Path::new(NET_D).join("10-pods.conflist"),
                bridge.to_string(),
            )
        })
        .expect("a file");
    let network = ours.scratch().join("pods.conflist");
    fs::write(&network, bridge.to_string()).expect("a file");
    let manifests = Manifests::new(ours.scratch().join("manifests"));
    let lan = json!({"type": "macvlan", "master": "uplink0", "cniVersion": "1.0.0", "ipam": addresses("10.5.0.0/16")});
    manifests.definition("lan", &lan);
    let storage = json!({"type": "bridge", "bridge": "br1", "cniVersion": "1.0.0", "ipam": addresses("10.6.0.0/16")});
    manifests.definition("storage", &storage);
    let config =
        json!({"clusterNetwork": network, "cniConfigDir": NET_D, "shimDir": ours.bin_dir()});
    let _daemon = Daemon::start(&ours, &config, manifests.dir());
    let containerds = [
        Containerd::start_for_pods(&plain),
        Containerd::start_for_pods(&ours),
    ];
    let [plain, ours] = containerds.each_ref().map(Containerd::cri);

    let kinds = [
        ("the bridge alone", &plain, Pod::new("web")),
        ("Plexus, the same bridge", &ours, Pod::new("web")),
        (
            "Plexus, two networks more",
            &ours,
            Pod::new("web").with_networks("lan, storage"),
        ),
    ];
    let mut times = kinds.each_ref().map(|_| (Vec::new(), Vec::new()));
    for _ in 0..PODS {
        for ((_, cri, pod), (runs, stops)) in kinds.iter().zip(&mut times) {
            let (run, stop) = life(cri, pod);
            runs.push(run);
            stops.push(stop);
        }
    }
    let (_, version) = ours.version().expect("a version");
    println!("{PODS} pods each under containerd {version}; medians in ms");
    println!("                             RunPodSandbox   StopPodSandbox");
    for ((name, ..), (runs, stops)) in kinds.iter().zip(times) {
        println!("{name:<28} {:13.1}   {:14.1}", median(runs), median(stops));
    }
    ExitCode::SUCCESS
}

fn furnish(plugins: &Path) -> Node {
    let node = Node::new().expect("a node");
    node.real_plugins(plugins, &PLUGINS);
    node.uplink("uplink0");
    node.run(|| fs::create_dir(NET_D)).expect("a directory");
    node
}

fn addresses(subnet: &str) -> Value {
    json!({"type": "host-local", "subnet": subnet})
}

fn life(cri: &Cri, pod: &Pod) -> (Duration, Duration) {
    let begin = Instant::now();
    let id = cri.run(pod).expect("it runs");
    let run = begin.elapsed();
    let begin = Instant::now();
    cri.stop(&id).expect("it stops");
    let stop = begin.elapsed();
    cri.remove(&id).expect("it goes");
    (run, stop)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
