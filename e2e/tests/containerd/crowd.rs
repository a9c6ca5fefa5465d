//! Many pods at once.

use std::collections::BTreeSet;
use std::thread;
use std::time::Instant;

use plexus_e2e::Pod;
use serde_json::json;

use crate::stage;
use crate::stage::NETWORKS;

const PODS: usize = 20;

#[test]
fn many_pods_come_and_go_at_once() {
    let node;
    let stage = stage!(node, json!({}));
    let all = |job: &(dyn Fn(usize) -> String + Sync)| -> Vec<String> {
        let begin = Instant::now();
        let done = thread::scope(|scope| {
            let threads: Vec<_> = (0..PODS)
                .map(|number| scope.spawn(move || job(number)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        println!("{PODS} pods in {:.1?}", begin.elapsed());
        done
    };
    let ids = all(&|number| stage.run(&Pod::new(&format!("pod-{number}")).with_networks(NETWORKS)));
    let pods = stage.pods();
    let addresses: BTreeSet<_> = pods.iter().flatten().collect();
    assert_eq!((pods.len(), addresses.len()), (PODS, 3 * PODS), "{pods:?}");
    all(&|number| {
        stage.end(&ids[number]);
        String::new()
    });
    stage.expect_nothing_left();
}
