//! A pod from its beginning to its end.

use plexus_e2e::Pod;
use serde_json::json;

use crate::stage;
use crate::stage::NETWORKS;

#[test]
fn a_pod_gets_its_networks_and_leaves_nothing() {
    plexus_api::rows!("C-03", "C-09", "C-19", "C-20");
    let node;
    let stage = stage!(node, json!({}));
    for host in 2..4 {
        let id = stage.run(&Pod::new("web").with_networks(NETWORKS));
        let status = stage.cri.status(&id).expect("a status");
        assert_eq!(
            (status.is_ready(), status.ip()),
            (true, format!("10.4.0.{host}").as_str())
        );
        let links = [("eth0", 4), ("net1", 5), ("net2", 6)];
        assert_eq!(
            stage.pods(),
            [links.map(|(link, network)| format!("{link} 10.{network}.0.{host}/16"))]
        );
        stage.end(&id);
        stage.expect_nothing_left();
    }
}
