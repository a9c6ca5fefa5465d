//! Many pods at the same time.

use std::collections::BTreeSet;
use std::thread;
use std::time::Instant;

use plexus_e2e::Pod;
use serde_json::json;

use crate::fixture::NETWORKS;
use crate::start;

const PODS: usize = 20;

#[test]
fn many_pods_start_and_stop_at_the_same_time() {
    let node;
    let plexus = start!(node, json!({}));
    let for_each_pod = |job: &(dyn Fn(usize) -> String + Sync)| -> Vec<String> {
        let start = Instant::now();
        let results = thread::scope(|scope| {
            let threads: Vec<_> = (0..PODS)
                .map(|number| scope.spawn(move || job(number)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        println!("{PODS} pods in {:.1?}", start.elapsed());
        results
    };
    let ids = for_each_pod(&|number| {
        plexus.run_pod(&Pod::new(&format!("pod-{number}")).with_networks(NETWORKS))
    });
    let pods = plexus.pods();
    let addresses: BTreeSet<_> = pods.iter().flatten().collect();
    assert_eq!((pods.len(), addresses.len()), (PODS, 3 * PODS), "{pods:?}");
    for_each_pod(&|number| {
        plexus.remove_pod(&ids[number]);
        String::new()
    });
    plexus.wait_nothing_left();
}
