use plexus_api::rows;
use serde_json::{Value, json};

use super::*;

fn check(document: &Value) -> Result<(), String> {
    let raw = parse(document.to_string().as_bytes()).map_err(|error| error.to_string())?;
    validate(&raw).map_err(|error| error.to_string())
}

fn document(kind: &str, section: &Value) -> Value {
    json!({"type": kind, "version": "1.1.0", kind: section})
}

/// Asserts that a document with this section is valid, and with each of these changes is not. A
/// change to null removes the key.
fn assert_section(kind: &str, section: &Value, changes: &[(&str, Value)]) {
    assert_eq!(check(&document(kind, section)), Ok(()), "{section}");
    for (key, value) in changes {
        let mut changed = section.clone();
        changed[*key] = value.clone();
        let error = check(&document(kind, &changed)).expect_err(&format!("{changed}"));
        assert!(error.contains(&format!("{key:?}")), "{changed}: {error}");
    }
}

#[test]
fn a_document_needs_a_known_type_a_version_and_the_section_of_the_type() {
    rows!("D-011");
    let pci = json!({"pci-address": "0000:18:02.5"});
    let valid = document("pci", &pci);
    assert_eq!(check(&valid), Ok(()));
    for (key, value, expected) in [
        ("type", Value::Null, "\"type\" is missing"),
        (
            "type",
            json!("foo"),
            "\"type\" is \"foo\", but must be one of pci, vdpa, vhost-user, memif",
        ),
        ("type", json!(1), "\"type\" is not a string"),
        ("type", json!("vdpa"), "\"vdpa\" is missing"),
        ("version", Value::Null, "\"version\" is missing"),
        (
            "version",
            json!("1.1"),
            "\"version\" is \"1.1\", but must be a version such as 1.1.0",
        ),
        ("pci", Value::Null, "\"pci\" is missing"),
        ("pci", json!([]), "\"pci\" is not an object"),
        // Programs in Go could not read network-status.
        ("vdpa", json!("x"), "\"vdpa\" is not an object"),
        ("memif", json!({"role": 1}), "\"role\" is not a string"),
    ] {
        let mut changed = valid.clone();
        changed[key] = value;
        assert_eq!(check(&changed), Err(expected.to_owned()), "{changed}");
    }
}

#[test]
fn a_document_is_an_object_of_limited_size() {
    rows!("D-017");
    let long = document("pci", &json!({"pci-address": "x".repeat(9_000)}));
    let error = check(&long).expect_err("a long address");
    assert!(error.len() < 200, "{error}");
    let too_large = document("pci", &json!({"x": "x".repeat(64 << 10)})).to_string();
    let too_deep = "[".repeat(200);
    for text in [&too_large, &too_deep, "{", "", "[]", "null", "{} {}"] {
        assert!(parse(text.as_bytes()).is_err(), "{text:.20}");
    }
}

#[test]
fn a_pci_device_needs_its_address() {
    rows!("D-012");
    let section = json!({
        "pci-address": "0000:18:02.5", "vhost-net": "/dev/vhost-net", "rdma-device": "mlx5_5",
        "pf-pci-address": "0000:18:00.0", "representor-device": "eth5",
    });
    let changes = [
        ("pci-address", Value::Null),
        ("pci-address", json!("")),
        ("pci-address", json!("18:02.5")),
        ("pci-address", json!("0000:18:02.8")),
        ("pci-address", json!("0000:18:0g.5")),
        ("pci-address", json!("0000:18:02")),
        ("pci-address", json!("0000:18:02.5/..")),
        ("rdma-device", json!(5)),
    ];
    assert_section("pci", &section, &changes);
    for address in ["0000:18:02.5", "10000:E1:00.0"] {
        assert_section("pci", &json!({"pci-address": address}), &[]);
    }
}

#[test]
fn a_vdpa_device_needs_its_parent_its_driver_and_its_path() {
    rows!("D-013");
    let section = json!({
        "parent-device": "vdpa:0000:65:00.3", "driver": "vhost", "path": "/dev/vhost-vdpa-0",
        "pci-address": "0000:65:00.3", "pf-pci-address": "0000:65:00.0", "representor-device": "x",
    });
    let changes = [
        ("parent-device", Value::Null),
        ("driver", Value::Null),
        ("driver", json!("foo")),
        ("path", Value::Null),
        ("pci-address", json!({})),
    ];
    assert_section("vdpa", &section, &changes);
    let virtio = json!({"parent-device": "vdpa1", "driver": "virtio", "path": "/dev/x"});
    assert_section("vdpa", &virtio, &[]);
}

#[test]
fn a_vhost_user_device_needs_its_mode_and_its_path() {
    rows!("D-014");
    for mode in ["client", "server"] {
        let section = json!({"mode": mode, "path": "/var/run/vhost.sock"});
        let changes = [
            ("mode", json!("x")),
            ("mode", Value::Null),
            ("path", Value::Null),
        ];
        assert_section("vhost-user", &section, &changes);
    }
}

#[test]
fn a_memif_device_needs_its_role_its_path_and_its_mode() {
    rows!("D-015");
    for role in ["master", "slave"] {
        for mode in ["ethernet", "ip", "inject-punt", "punt"] {
            let section = json!({"role": role, "path": "/var/run/memif.sock", "mode": mode});
            let changes = [
                ("role", json!("x")),
                ("role", Value::Null),
                ("path", Value::Null),
                ("mode", json!("x")),
                ("mode", Value::Null),
            ];
            assert_section("memif", &section, &changes);
        }
    }
}

#[test]
fn a_document_keeps_its_version_and_unknown_keys() {
    rows!("D-016");
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        let text = format!(
            r#"{{"new":[1.50,{{}}],"version":"{version}","type":"pci","pci":{{"x":1e400,"pci-address":"0000:18:02.5"}}}}"#
        );
        let raw = parse(text.as_bytes()).expect("valid");
        assert_eq!(validate(&raw), Ok(()));
        assert_eq!(raw.get(), text);
    }
}

#[test]
fn keys_match_as_in_go() {
    let text = r#"{"Type":"pci","VERSION":"1.1.0","pci":{"PCI-address":"0000:18:02.5"}}"#;
    let raw = parse(text.as_bytes()).expect("valid");
    assert_eq!(validate(&raw), Ok(()));
    let text =
        r#"{"type":"pci","version":"1.1.0","type":"x","pci":{"pci-address":"0000:18:02.5"}}"#;
    let raw = parse(text.as_bytes()).expect("valid");
    assert!(validate(&raw).is_err(), "the last key wins");
}

#[test]
fn a_byte_order_mark_is_skipped_once() {
    let bom = "\u{feff}";
    let text = r#"{"type":"pci"}"#;
    let parsed = |text: String| parse(text.as_bytes()).map(|raw| raw.get().to_owned());
    assert_eq!(parsed(format!("{bom}{text}")), Ok(text.to_owned()));
    let error = parsed(format!("{bom}{bom}{text}"));
    assert!(
        matches!(error, Err(InvalidDocument::Object(_))),
        "{error:?}"
    );
}
