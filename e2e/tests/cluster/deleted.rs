//! Pods that end without a DEL to us, as all do once the runtime has another configuration.

use plexus_e2e::plexus::wait_files;
use plexus_e2e::{Cluster, Pod, Target, node};
use serde_json::json;

use crate::bench::Bench;

#[test]
fn many_sandboxes_may_go_at_once_where_their_pods_are_deleted() {
    let (node, cluster) = (node!(), Cluster::new());
    let keys = json!({"recoveryInterval": "20ms", "goneGap": "50ms"});
    let mut bench = Bench::configured(&node, &cluster, &keys);
    bench.define("a");
    let pods: Vec<_> = (0..6)
        .map(|index| {
            let pod = bench.pod(&Pod::new(&format!("pod{index}")).with_networks("a"));
            let sandbox = node.sandbox(&pod.name);
            let target = Target::new(&sandbox, "eth0", &pod);
            assert!(bench.containerd.add(&target).ok());
            (pod, sandbox, target)
        })
        .collect();
    // Given five sandboxes that went while nobody looked, and whose pods are still there.
    bench.daemon.stop();
    for (_, sandbox, _) in &pods[1..] {
        sandbox.remove();
    }
    bench.daemon.launch();
    bench
        .daemon
        .wait_log("5 of 6 sandboxes of this boot look gone at once");
    let deleted = |target: &Target| {
        let calls = node.calls();
        calls
            .iter()
            .filter(|call| {
                call.env("CNI_CONTAINERID") == target.container
                    && call.summary().starts_with("DEL ")
            })
            .count()
    };
    assert_eq!(
        pods.iter()
            .map(|(_, _, target)| deleted(target))
            .sum::<usize>(),
        0
    );
    // When the pods are deleted.
    for (pod, _, _) in &pods[1..] {
        bench.namespace.remove_pod(&pod.name);
    }
    // Then their sandboxes are believed to be gone, and the one that lives is left alone.
    wait_files(&node, "ledger", &[&pods[0].2]);
    for (_, _, target) in &pods[1..] {
        assert_eq!(deleted(target), 2);
    }
    bench.containerd.check(&pods[0].2).expect_silence();
}
