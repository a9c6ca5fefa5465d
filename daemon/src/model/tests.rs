use plexus_api::cni::{Defaults, NetworkConfig, Version};
use plexus_api::rows;

use super::pod::CONFIG_SOURCE;
use super::{Attachment, NetnsId, Pod, PodRef, attachment_label};

#[test]
fn an_attachment_label_has_network_and_interface() {
    let defaults = Defaults {
        name: Some("test"),
        version: Version::V1_0_0,
    };
    let attachment = Attachment {
        default: true,
        ..Attachment::new(
            "cluster",
            "eth0",
            NetworkConfig::parse(r#"{"type":"bridge"}"#, defaults).expect("a configuration"),
        )
    };
    assert_eq!(attachment.label(), r#"network "cluster" interface "eth0""#);
    assert_eq!(attachment.label(), attachment_label("cluster", "eth0"));
}

#[test]
fn netns_ids_with_different_cookies_are_never_equal() {
    let id = |dev, ino, cookie| NetnsId { dev, ino, cookie };
    for (left, right, expected) in [
        (id(4, 10, Some(1)), id(4, 10, Some(1)), true),
        (id(4, 10, Some(1)), id(4, 10, Some(2)), false),
        (id(4, 10, Some(1)), id(4, 11, Some(1)), false),
        (id(5, 10, Some(1)), id(4, 10, Some(1)), false),
        (id(4, 10, None), id(4, 10, Some(2)), true),
        (id(4, 10, Some(1)), id(4, 10, None), true),
        (id(4, 10, None), id(4, 11, None), false),
    ] {
        assert_eq!(left.may_equal(right), expected, "{left:?} {right:?}");
    }
}

#[test]
fn a_pod_is_displayed_as_namespace_and_name() {
    let pod = |name: &str| PodRef {
        namespace: "ns".to_owned(),
        name: name.to_owned(),
        ..PodRef::default()
    };
    assert_eq!(pod("pod").to_string(), "ns/pod");
    let forged = pod("a\nERROR \u{1b}[31m");
    assert_eq!(forged.to_string(), "ns/a\\nERROR \\u{1b}[31m");
}

#[test]
fn a_pod_matches_its_own_uid_only_unless_it_is_static() {
    rows!("P-019");
    let pod = |uid: &str, source: Option<&str>| Pod {
        uid: uid.to_owned(),
        annotations: source
            .map(|source| (CONFIG_SOURCE.to_owned(), source.to_owned()))
            .into_iter()
            .collect(),
        ..Pod::default()
    };
    for (known, source, requested, matches) in [
        ("u1", None, "u1", true),
        ("u1", None, "u2", false),
        ("u1", Some("api"), "u2", false),
        ("u1", Some("file"), "u2", true),
        ("", None, "u2", true),
        ("u1", None, "", true),
    ] {
        assert_eq!(
            pod(known, source).matches_uid(requested),
            matches,
            "{known} {source:?} {requested}"
        );
    }
    assert!(pod("", Some("http")).is_static());
    assert!(!pod("", Some("api")).is_static() && !pod("", None).is_static());
}

#[test]
fn an_attachment_of_a_record_may_have_no_device_and_keeps_the_one_it_has() {
    let text = r#"{"network":"ns/vf","ifname":"net1","cniArgs":"","config":{"name":"vf","cniVersion":"1.0.0","plugins":[{"type":"x"}]}}"#;
    let mut attachment: Attachment = serde_json::from_str(text).expect("an older record");
    assert_eq!(
        (&attachment.resource_name, &attachment.device_id),
        (&None, &None)
    );
    assert_eq!(attachment.device_info_file, None);
    attachment.resource_name = Some("example.com/vf".to_owned());
    attachment.device_id = Some("0000:03:02.0".to_owned());
    let text = serde_json::to_string(&attachment).expect("JSON");
    let read: Attachment = serde_json::from_str(&text).expect("a record");
    assert_eq!(read.resource_name, attachment.resource_name);
    assert_eq!(read.device_id, attachment.device_id);
}
