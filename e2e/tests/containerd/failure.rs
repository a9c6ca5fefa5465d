//! Networks that fail.

use plexus_e2e::{Pod, Script, Step};
use serde_json::json;

use crate::stage;

#[test]
fn a_user_reads_why_a_pod_does_not_start() {
    plexus_api::rows!("C-26", "P-047");
    let node;
    let stage = stage!(node, json!({}));
    node.plugin(
        "broken",
        &Script::new().fails("ADD", 100, "the uplink has no carrier"),
    );
    stage
        .manifests
        .definition("broken", &json!({"cniVersion": "1.0.0", "type": "broken"}));
    let refused = stage.run_in_vain(&Pod::new("web").with_networks("lan, broken"));
    for part in [
        "default/web",
        "default/broken",
        "net2",
        "the uplink has no carrier",
    ] {
        assert!(
            refused.message.contains(part),
            "{part} is missing in {}",
            refused.message
        );
    }
    assert_eq!(refused.message.lines().count(), 1, "{}", refused.message);
    stage.expect_nothing_left();

    let id = stage.run(&Pod::new("web").with_networks("lan, storage"));
    // host-local gives addresses in turn; those of `storage` begin here.
    assert_eq!(
        stage.pods(),
        [["eth0 10.4.0.3/16", "net1 10.5.0.3/16", "net2 10.6.0.2/16"]]
    );
    stage.end(&id);
    stage.expect_nothing_left();
}

#[test]
fn what_the_runtime_gives_up_is_cleaned_up() {
    plexus_api::rows!("C-11");
    let node;
    let stage = stage!(node, json!({}));
    let broken = Script::new()
        .fails("ADD", 100, "no")
        .fails("DEL", 100, "not now");
    node.plugin("broken", &broken);
    stage
        .manifests
        .definition("broken", &json!({"cniVersion": "1.0.0", "type": "broken"}));
    stage.run_in_vain(&Pod::new("web").with_networks("lan, broken"));
    // What comes then differs: 1.6 keeps the sandbox and asks at each stop, 1.7 keeps it and asks no more, 2.1 is done.
    let kept = stage.cri.list().expect("a list");
    for sandbox in &kept {
        let _ = stage.cri.stop(&sandbox.id);
    }
    assert!(
        stage.left().is_some_and(|left| left.starts_with("records")),
        "{:?}",
        stage.left()
    );

    node.plugin("broken", &broken.on("DEL", [] as [Step; 0]));
    for sandbox in &kept {
        stage.end(&sandbox.id);
    }
    stage.expect_nothing_left();
    let id = stage.run(&Pod::new("web").with_networks("storage"));
    assert_eq!(stage.pods(), [["eth0 10.4.0.3/16", "net1 10.6.0.2/16"]]);
    stage.end(&id);
    stage.expect_nothing_left();
}
