//! Pods that end without a DEL, as all pods do after the runtime's configuration was changed.

use plexus_e2e::{Cluster, CniTarget, PlexusInCluster, Pod, node};
use serde_json::json;

#[test]
fn many_missing_sandboxes_are_deleted_if_their_pods_were_deleted() {
    let (node, cluster) = (node!(), Cluster::new());
    let keys = json!({"recoveryInterval": "20ms", "goneGap": "50ms"});
    let mut plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    plexus.define("a");
    let pods: Vec<_> = (0..6)
        .map(|index| {
            let pod = plexus.pod(&Pod::new(&format!("pod{index}")).with_networks("a"));
            let sandbox = node.sandbox(&pod.name);
            let target = sandbox.target(&pod);
            assert!(plexus.runtime.add(&target).ok());
            (pod, sandbox, target)
        })
        .collect();
    // Five sandboxes end while the daemon is down, and their pods still exist.
    plexus.daemon.stop();
    for (_, sandbox, _) in &pods[1..] {
        sandbox.remove();
    }
    plexus.daemon.launch();
    plexus
        .daemon
        .wait_log("too many sandboxes look gone at once (5 of 6)");
    let dels = |target: &CniTarget| {
        let calls = plexus.calls_for(target);
        calls.iter().filter(|call| call.starts_with("DEL ")).count()
    };
    let all_dels: usize = pods.iter().map(|(_, _, target)| dels(target)).sum();
    assert_eq!(all_dels, 0);
    for (pod, _, _) in &pods[1..] {
        plexus.namespace.remove_pod(&pod.name);
    }
    plexus.wait_records(&[&pods[0].2]);
    for (_, _, target) in &pods[1..] {
        assert_eq!(dels(target), 2);
    }
    plexus.runtime.check(&pods[0].2).expect_success();
}
