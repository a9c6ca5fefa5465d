//! GC of sandboxes that the runtime does not list.

use plexus_api::rows;
use plexus_e2e::{Pod, node};
use serde_json::json;

use crate::plexus::{Plexus, attaches, target};

#[test]
fn a_stale_attachment_is_deleted_as_it_was_added() {
    rows!("R-100");
    let node = node!();
    let mut plexus = Plexus::start(&node);
    node.plugin("a", &attaches());
    let definition = |vlan: u16| {
        json!({
            "cniVersion": "1.0.0", "type": "a", "vlan": vlan, "capabilities": {"mac": true},
        })
    };
    plexus.manifests.definition("a", &definition(1));
    let networks = r#"[{"name": "a", "mac": "02:00:00:00:00:01"}]"#;
    let sandbox = node.sandbox("pod");
    let target = target(&sandbox, &Pod::new("p").with_networks(networks));
    plexus.runtime.add(&target).result();
    plexus.manifests.definition("a", &definition(2));
    plexus.daemon.restart();
    plexus.runtime.gc(&[]).expect_silence();
    let (added, deleted) = (plexus.calls_of("ADD"), plexus.calls_of("DEL"));
    let (added, deleted) = (&added[1], &deleted[0]);
    assert_eq!((&*added.plugin, &*deleted.plugin), ("a", "a"));
    for variable in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
        assert_eq!(added.env(variable), deleted.env(variable), "{variable}");
    }
    let mut config = deleted.config();
    let previous = config
        .as_object_mut()
        .expect("an object")
        .remove("prevResult");
    assert!(previous.is_some());
    assert_eq!(config, added.config());
    assert_eq!(
        (&config["vlan"], &config["runtimeConfig"]["mac"]),
        (&json!(1), &json!("02:00:00:00:00:01"))
    );
    plexus.assert_nothing_left(&sandbox);
}
