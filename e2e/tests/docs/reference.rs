//! Tables in the documentation match the code.

use std::collections::BTreeSet;
use std::time::Duration;

use plexus_api::cni::Code;
use plexus_api::duration;
use plexus_api::selection;
use plexus_api::wire;
use plexus_e2e::workspace::{files, read};
use plexusd::config::{Fields, Settings};
use plexusd::{Check, EventReason};
use serde_json::{Map, Value, json};

use crate::document::Document;

/// The longest duration in the configuration, of `snapshotMaxAge`.
const MAX_AGE: Duration = Duration::from_hours(365 * 24);

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
fn checks_of_doctor_are_documented_in_their_order() {
    let rows = Document::read("docs/doctor.md").rows("The checks");
    let documented: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(documented, Check::ALL.map(Check::name));
}

#[test]
fn keys_are_documented() {
    let document = Document::read("docs/configuration.md");
    let rows = document.rows_of_section("Keys of the daemon").into_iter();
    let keys: Vec<_> = rows.map(|row| row[0].clone()).collect();
    let listed: BTreeSet<_> = keys.iter().cloned().collect();
    assert_eq!(listed.len(), keys.len(), "each key has one row");
    assert_eq!(listed, strings(Settings::KEYS));
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

/// Whether a value has the documented type.
fn has_type(value: &Value, documented: &str) -> bool {
    match documented {
        "boolean" => value.is_boolean(),
        "number of calls" | "user ID" | "port" => value.is_u64(),
        "object" => value.is_object(),
        "list of strings, or object" => value.is_array() || value.is_object(),
        "list of objects" => list(value).iter().all(Value::is_object),
        "list of strings" | "list of CIDRs" => list(value).iter().all(Value::is_string),
        "path" => value.as_str().is_some_and(|text| text.starts_with('/')),
        "duration" => duration::parse_up_to(value.as_str().unwrap_or_default(), MAX_AGE).is_ok(),
        "string" | "file name" | "address with port" => value.is_string(),
        other => panic!("unknown type {other:?}"),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

#[test]
fn documented_examples_have_the_documented_type_and_change_the_setting() {
    let document = Document::read("docs/configuration.md");
    let value = |text: &str| -> Value {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    };
    // A few keys have an effect only with others.
    let others =
        json!({"multusAutoconfigDir": "/run/cni", "shimDir": "/run/bin", "logFile": "/run/log"});
    let settings = |fields: &Value| {
        let fields = Fields::parse(&fields.to_string()).expect("an object");
        Settings::read(&fields).map(|settings| format!("{settings:#?}"))
    };
    for row in document.rows_of_section("Keys of the daemon") {
        let [key, documented, default, example, ..] = &row[..] else {
            panic!("{row:?}")
        };
        let example = value(example);
        assert!(has_type(&example, documented), "{row:?}");
        if default != "none" {
            assert!(has_type(&value(default), documented), "{row:?}");
        }
        let mut with = others.clone();
        with[key.as_str()] = example;
        let with = settings(&with).unwrap_or_else(|error| panic!("{row:?}: {error}"));
        // `auto` is what the other keys imply.
        let changes = with != settings(&others).expect("valid values");
        assert!(changes || key == "multusConfigFile", "{row:?}");
    }
    for row in document.rows("Keys of the shim") {
        let [key, documented, default, example, ..] = &row[..] else {
            panic!("{row:?}")
        };
        assert!(has_type(&value(example), documented), "{row:?}");
        assert!(has_type(&value(default), documented), "{row:?}");
        let config = json!({key.as_str(): value(example)}).to_string();
        let fields = Fields::parse(&config).expect("an object");
        Settings::read(&fields).unwrap_or_else(|error| panic!("{row:?}: {error}"));
    }
}

#[test]
fn documented_defaults_match() {
    let document = Document::read("docs/configuration.md");
    let mut documented = Map::new();
    for row in document.rows_of_section("Keys of the daemon") {
        if row[2] != "none" {
            let value =
                serde_json::from_str(&row[2]).unwrap_or_else(|error| panic!("{row:?}: {error}"));
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
            "daemonSocketDir" => wire::SOCKET_DIR == row[2].trim_matches('"'),
            "stateDir" => wire::STATE_DIR == row[2].trim_matches('"'),
            key => source.contains(&format!("{key:?}, {}", row[2])),
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
