//! Tables in the documentation match the code.

use std::collections::BTreeSet;

use plexus_api::cni::Code;
use plexus_api::selection;
use plexus_api::wire;
use plexus_e2e::workspace::{files, read};
use plexusd::EventReason;
use plexusd::config::{Fields, Settings};
use serde_json::{Map, Value};

use crate::document::Document;

fn strings(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&item| item.to_owned()).collect()
}

#[test]
fn error_codes_are_documented() {
    let document = Document::read("docs/troubleshooting.md");
    let documented: BTreeSet<_> = document
        .rows("Error codes")
        .into_iter()
        .map(|row| row[..2].join(" "))
        .collect();
    let codes: BTreeSet<_> = Code::ALL
        .iter()
        .map(|code| format!("{} {code:?}", *code as u32))
        .collect();
    assert_eq!(documented, codes);
}

#[test]
fn events_are_documented() {
    let documented = Document::read("docs/troubleshooting.md").keys("Events");
    let reasons: BTreeSet<_> = EventReason::ALL
        .iter()
        .map(|reason| reason.name().to_owned())
        .collect();
    assert_eq!(documented, reasons);
}

#[test]
fn keys_are_documented() {
    let document = Document::read("docs/administrator.md");
    assert_eq!(document.keys("Keys of the daemon"), strings(Settings::KEYS));
    assert_eq!(
        document.keys("Keys without effect"),
        strings(Settings::IGNORED_KEYS)
    );
    let shim_keys = document.keys("Keys of the shim");
    assert_eq!(shim_keys, keys_in(&read("shim/src/settings.rs")));
    // The daemon logs a warning for keys that only the shim reads.
    let only_shim: BTreeSet<_> = shim_keys
        .into_iter()
        .filter(|key| !Settings::KEYS.contains(&key.as_str()))
        .collect();
    assert_eq!(only_shim, strings(Settings::SHIM_KEYS));
    // The daemon would report a key that is read but not listed as unknown.
    let source = read("daemon/src/config/settings.rs");
    let (_, body) = source.split_once("pub fn read(").expect("the function");
    let (body, _) = body
        .split_once("\n    }\n")
        .expect("the end of the function");
    let sources = [
        body.to_owned(),
        read("daemon/src/config/telemetry.rs"),
        read("daemon/src/config/install.rs"),
    ];
    let log_options = &["maxAge", "maxBackups", "maxSize"][..];
    let listed = [Settings::KEYS, Settings::SHIM_KEYS, log_options].concat();
    let unlisted: Vec<_> = keys_in(&sources.concat())
        .into_iter()
        .filter(|key| !listed.contains(&key.as_str()))
        .collect();
    assert_eq!(unlisted, [""; 0]);
}

/// The string literals in a source that look like a key of the configuration.
fn keys_in(source: &str) -> BTreeSet<String> {
    let is_key = |text: &&str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.contains(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|byte| byte.is_ascii_alphabetic())
            // An argument of a serde attribute.
            && *text != "camelCase"
    };
    source
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(is_key)
        .map(str::to_owned)
        .collect()
}

#[test]
fn documented_defaults_match() {
    let document = Document::read("docs/administrator.md");
    let mut documented = Map::new();
    for row in document.rows("Keys of the daemon") {
        if row[1] != "none" {
            let value =
                serde_json::from_str(&row[1]).unwrap_or_else(|error| panic!("{row:?}: {error}"));
            documented.insert(row[0].clone(), value);
        }
    }
    let settings = |text: &str| {
        let fields = Fields::parse(text).expect("an object");
        format!("{:#?}", Settings::read(&fields).expect("valid values"))
    };
    assert_eq!(
        settings(&Value::from(documented).to_string()),
        settings("{}")
    );

    let source = read("shim/src/settings.rs");
    for row in document.rows("Keys of the shim") {
        let matches = match row[0].as_str() {
            "daemonSocketDir" => wire::SOCKET_DIR == row[1].trim_matches('"'),
            "stateDir" => wire::STATE_DIR == row[1].trim_matches('"'),
            key => source.contains(&format!("{key:?}, {}", row[1])),
        };
        assert!(matches, "{row:?}");
    }
}

#[test]
fn documented_errors_of_annotations_match() {
    for row in Document::read("docs/workload-author.md").rows("When the annotation is wrong") {
        let error = selection::parse(&row[0], "default")
            .expect_err(&row[0])
            .to_string();
        assert!(error.contains(&row[1]), "{row:?}: {error}");
    }
}

#[test]
fn quoted_messages_exist() {
    let sources: String = files(&["api", "shim", "daemon"], &["rs"])
        .iter()
        .map(|name| read(name))
        .collect();
    // Joins string literals that continue on the next line.
    let sources = sources.replace("\\\"", "\"");
    let sources: String = sources.split("\\\n").map(str::trim_start).collect();
    for (page, heading) in [
        ("docs/workload-author.md", "When something is wrong"),
        ("docs/devices.md", "When devices are missing"),
        ("docs/troubleshooting.md", "plexusd does not start"),
    ] {
        for row in Document::read(page).rows(heading) {
            let quoted = row[0].split('`').next().unwrap_or_default();
            for part in quoted.split('…') {
                let part = part.trim_matches(|c: char| !c.is_alphanumeric());
                assert!(
                    sources.contains(part),
                    "{page}: {row:?}: no message contains {part:?}"
                );
            }
        }
    }
}
