//! kubelet cancels its call, for example after its timeout.

use std::os::unix::net::UnixStream;
use std::thread;

use plexus_e2e::{Pod, Script};
use serde_json::json;

use crate::fixture::NETWORKS;
use crate::start;

#[test]
fn a_pod_whose_start_is_cancelled_leaves_nothing() {
    plexus_api::rows!("C-11", "C-12");
    let node;
    let plexus = start!(node, json!({}));
    let gate = node.gate("held");
    plexus.network("held", &Script::new().on("ADD", [gate.step()]));
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let cri = plexus.cri.clone();
    let pod = Pod::new("web").with_networks(format!("{NETWORKS}, held"));
    let run = thread::spawn(move || cri.run_until_closed(&pod, theirs));
    let held = gate.wait();
    drop(ours);
    run.join().expect("the call is cancelled");
    // containerd has killed the shim and calls DEL, which waits for the plugin.
    drop(held);
    plexus.wait_nothing_left();

    // The runtime still knows the name of the cancelled pod.
    let id = plexus.run_pod(&Pod::new("next").with_networks(NETWORKS));
    plexus.remove_pod(&id);
    plexus.wait_nothing_left();
}
