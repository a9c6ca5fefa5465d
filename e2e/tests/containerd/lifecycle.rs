//! A pod from start to end.

use plexus_e2e::Pod;
use serde_json::json;

use crate::fixture::NETWORKS;
use crate::start;

#[test]
fn a_pod_gets_its_networks_and_leaves_nothing() {
    plexus_api::rows!("C-03", "C-09", "C-19", "C-20");
    let node;
    let plexus = start!(node, json!({}));
    for host in 2..4 {
        let id = plexus.run_pod(&Pod::new("web").with_networks(NETWORKS));
        let status = plexus.cri.status(&id).expect("a status");
        assert_eq!(
            (status.is_ready(), status.ip()),
            (true, format!("10.4.0.{host}").as_str())
        );
        let links = [("eth0", 4), ("net1", 5), ("net2", 6)];
        assert_eq!(
            plexus.pods(),
            [links.map(|(link, network)| format!("{link} 10.{network}.0.{host}/16"))]
        );
        let namespace = plexus.namespace();
        plexus.remove_pod(&id);
        plexus.wait_nothing_left();
        plexus.wait_namespace_released(namespace);
    }
}
