//! Pods that end without a DEL, as all pods do after the runtime's configuration was changed.

use plexus_e2e::plexus::{MAIN, NET_D};
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

#[test]
fn an_uninstall_names_the_deleted_pods_that_it_has_to_clean_up_after() {
    let (node, cluster) = (node!(), Cluster::new());
    let keys = json!({"recoveryInterval": "1h", "goneGap": "1h"});
    let builder = PlexusInCluster::on(&node).installed().config(keys);
    let mut plexus = PlexusInCluster::build(builder, &cluster);
    plexus.daemon.restart();
    let pod = plexus.pod(&Pod::new("web"));
    let sandbox = node.sandbox("web");
    plexus.plain_runtime.add(&sandbox.target(&pod)).result();
    let other = json!({"cniVersion": "1.0.0", "name": "other", "plugins": [{"type": MAIN}]});
    node.write(format!("{NET_D}/10-other.conflist"), other.to_string());
    plexus.daemon.stop();
    plexus.daemon.launch_subcommand("uninstall");
    let name = format!("pod {}/web", pod.namespace);
    let waiting = format!("until these are deleted: {name}");
    plexus.daemon.wait_not_ready(&waiting);
    plexus.namespace.remove_pod("web");
    let cleaning = format!("these deleted ones, within goneGap and recoveryInterval: {name}");
    plexus.daemon.wait_not_ready(&cleaning);
}
