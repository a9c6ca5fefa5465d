//! Networks that fail.

use plexus_e2e::{Pod, Script, Step};
use serde_json::json;

use crate::start;

#[test]
fn the_error_of_a_failed_pod_names_the_cause() {
    plexus_api::rows!("C-26", "P-047");
    let node;
    let plexus = start!(node, json!({}));
    plexus.network(
        "broken",
        &Script::new().fails("ADD", 100, "the uplink has no carrier"),
    );
    let error = plexus.run_pod_error(&Pod::new("web").with_networks("lan, broken"));
    for part in [
        "default/web",
        "default/broken",
        "net2",
        "the uplink has no carrier",
    ] {
        assert!(
            error.message.contains(part),
            "{part} is missing in {}",
            error.message
        );
    }
    assert_eq!(error.message.lines().count(), 1, "{}", error.message);
    plexus.wait_nothing_left();

    let id = plexus.run_pod(&Pod::new("web").with_networks("lan, storage"));
    // host-local does not reuse the addresses of the failed pod at once.
    assert_eq!(
        plexus.pods(),
        [["eth0 10.4.0.3/16", "net1 10.5.0.3/16", "net2 10.6.0.2/16"]]
    );
    plexus.remove_pod(&id);
    plexus.wait_nothing_left();
}

#[test]
fn a_pod_that_the_runtime_abandons_is_cleaned_up() {
    plexus_api::rows!("C-11");
    let node;
    let plexus = start!(node, json!({}));
    let broken = Script::new()
        .fails("ADD", 100, "no")
        .fails("DEL", 100, "not now");
    plexus.network("broken", &broken);
    plexus.run_pod_error(&Pod::new("web").with_networks("lan, broken"));
    // containerd 1.6 keeps the sandbox and repeats DEL at each stop, 1.7 keeps it without another
    // DEL, 2.1 removes it.
    let kept = plexus.cri.list().expect("a list");
    for sandbox in &kept {
        let _ = plexus.cri.stop(&sandbox.id);
    }
    assert!(
        plexus
            .leftovers()
            .is_some_and(|left| left.starts_with("records")),
        "{:?}",
        plexus.leftovers()
    );

    node.plugin("broken", &broken.on("DEL", [] as [Step; 0]));
    for sandbox in &kept {
        plexus.remove_pod(&sandbox.id);
    }
    plexus.wait_nothing_left();
    let id = plexus.run_pod(&Pod::new("web").with_networks("storage"));
    assert_eq!(plexus.pods(), [["eth0 10.4.0.3/16", "net1 10.6.0.2/16"]]);
    plexus.remove_pod(&id);
    plexus.wait_nothing_left();
}
