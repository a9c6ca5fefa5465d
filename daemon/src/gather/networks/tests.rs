use std::path::Path;

use plexus_api::cni::Version;

use super::{definition_network, resource_name};
use crate::cluster::Definition;
use crate::gather::GatherError;
use crate::gather::test_helpers::{dir, kinds, list, single};

fn definition(name: &str, config: Option<&str>) -> Definition {
    Definition {
        namespace: "ns".into(),
        name: name.into(),
        config: config.map(Into::into),
        ..Definition::default()
    }
}

#[test]
fn a_definition_never_gets_plugins_from_the_node() {
    plexus_api::rows!("R-012");
    let dir = dir(&[("net/10-a.conf", r#"{"type":"a"}"#)]);
    for (name, config) in [
        ("net", list("", &["own"])),
        ("other", list("net", &["own"])),
    ] {
        assert_eq!(
            kinds(&definition_network(
                &definition(name, Some(&config)),
                dir.path()
            )),
            ["own"]
        );
    }
    let error = definition_network(
        &definition("net", Some(r#"{"cniVersion":"1.0.0"}"#)),
        dir.path(),
    );
    assert!(
        matches!(error, Err(GatherError::Definition(_))),
        "{error:?}"
    );
}

#[test]
fn a_definition_without_config_is_the_network_of_its_name() {
    plexus_api::rows!("K-002", "K-003", "K-004");
    let on_disk = list("net", &["disk"]);
    let dir = dir(&[
        ("a.conflist", &on_disk),
        ("b.conf", &single("one", "single")),
        ("c.conf", "{"),
    ]);
    let resolve = |name, config| definition_network(&definition(name, config), dir.path());
    assert_eq!(
        kinds(&resolve(
            "net",
            Some(r#"{"cniVersion":"1.0.0","type":"own"}"#)
        )),
        ["own"]
    );
    assert_eq!(kinds(&resolve("net", None)), ["disk"]);
    assert_eq!(kinds(&resolve("net", Some(""))), ["disk"]);
    assert_eq!(kinds(&resolve("one", None)), ["single"]);
    let missing = Path::new("/nonexistent/net.d");
    for error in [
        resolve("none", None),
        definition_network(&definition("none", None), missing),
    ] {
        let error = error.expect_err("nowhere");
        let text = error.to_string();
        assert!(error.is_missing() && text.contains("\"none\""), "{text}");
        assert!(
            text.contains("no spec.config") && text.contains("confDir"),
            "{text}"
        );
        assert!(!text.contains("os error"), "{text}");
    }
    let error = resolve("none", None).expect_err("nowhere").to_string();
    assert!(
        error.contains("skipped files: ") && error.contains("c.conf"),
        "{error}"
    );
    for invalid in [
        "{",
        " ",
        "{}",
        "[]",
        r#"{"type":7}"#,
        r#"{"plugins":[]}"#,
        r#"{"name":"a/b","type":"x"}"#,
    ] {
        let error = resolve("net", Some(invalid)).expect_err(invalid);
        assert!(
            !error.is_missing()
                && error
                    .to_string()
                    .contains("its network-attachment-definition"),
            "{error}"
        );
    }
}

#[test]
fn a_definition_has_a_default_name_and_version() {
    plexus_api::rows!("K-005");
    for config in [
        r#"{"type":"x"}"#,
        r#"{"name":"","type":"x"}"#,
        r#"{"plugins":[{"type":"x","name":"inner"}]}"#,
    ] {
        let found = definition_network(
            &definition("a-net", Some(config)),
            Path::new("/nonexistent"),
        );
        let found = found.expect(config);
        assert_eq!(
            (&*found.name, found.cni_version),
            ("a-net", Version::V1_0_0)
        );
    }
    let named = r#"{"cniVersion":"0.4.0","name":"own","type":"x"}"#;
    let found = definition_network(&definition("a-net", Some(named)), Path::new("/nonexistent"));
    let found = found.expect("own name");
    assert_eq!((&*found.name, found.cni_version), ("own", Version::V0_4_0));
}

#[test]
fn the_resource_of_a_definition_has_a_name_that_kubernetes_allows() {
    let resource = |text: &str| {
        resource_name(&Definition {
            resource_name: Some(text.to_owned()),
            ..definition("net", None)
        })
    };
    assert_eq!(resource("").expect("no resource"), None);
    let longest = format!("{}/{}", "a".repeat(253), "b".repeat(63));
    assert_eq!(resource(&longest).expect("valid"), Some(longest.clone()));
    let error = resource(&(longest + "b")).expect_err("too long");
    assert!(error.to_string().contains("318 bytes"), "{error}");
}
