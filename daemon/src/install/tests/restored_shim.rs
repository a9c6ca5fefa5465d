//! A shim that another program removes.

use std::fs;

use super::Node;
use crate::install::ProblemKind;

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_shim_is_restored() {
    let node = Node::with_default_network().await;
    let shim = node.root.path().join("bin/plexus");
    node.until_ready().await;
    fs::remove_file(&shim).expect("shim");
    node.until("the shim", || shim.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_another_program_keeps_removing_is_a_problem_until_it_is_restored() {
    let node = Node::with_default_network().await;
    let shim = node.root.path().join("bin/plexus");
    node.until_ready().await;
    node.until("the problem", || {
        // Ignored: the shim is not restored yet.
        let _ = fs::remove_file(&shim);
        let problems = node.status.get().problems;
        problems.iter().any(|found| {
            found.kind == ProblemKind::ShimNotInstalled
                && found.problem.text.contains("keeps removing or changing")
        })
    })
    .await;
    node.until_ready().await;
    assert!(shim.exists());
}
