//! What people read is true: the names, numbers, defaults, samples, links and commands of the documents are those of
//! the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Parser as _;
use plexus_api::cni::{Code, Defaults, NetworkConfig, Version};
use plexus_api::selection::{self, DEFAULT_NETWORK, NETWORKS};
use plexus_api::status::{NetworkStatus, render};
use plexus_api::wire;
use plexus_e2e::workspace::{files, read, root};
use plexusd::EventReason;
use plexusd::cli::Cli;
use plexusd::config::{Fields, Settings};
use serde_json::{Map, Value};

/// Where paths that the documents name may begin.
const PLACES: [&str; 7] = [".ci", "api", "daemon", "deploy", "docs", "e2e", "shim"];

/// A Markdown file, taken apart.
struct Document {
    name: String,
    /// The lines outside fences.
    prose: Vec<String>,
    fences: Vec<Fence>,
}

struct Fence {
    /// What stands behind the three backticks: the language, then what the sample is.
    info: String,
    body: String,
}

impl Document {
    fn read(name: &str) -> Self {
        let (mut prose, mut fences, mut open): (Vec<String>, Vec<Fence>, Option<Fence>) =
            (vec![], vec![], None);
        for line in read(name).lines() {
            match (line.trim_start().strip_prefix("```"), open.take()) {
                (Some(_), Some(fence)) => fences.push(fence),
                (Some(info), None) => {
                    open = Some(Fence {
                        info: info.to_owned(),
                        body: String::new(),
                    });
                }
                (None, Some(mut fence)) => {
                    fence.body.push_str(line);
                    fence.body.push('\n');
                    open = Some(fence);
                }
                (None, None) => prose.push(line.to_owned()),
            }
        }
        assert!(open.is_none(), "{name}: a fence is not closed");
        Self {
            name: name.to_owned(),
            prose,
            fences,
        }
    }

    fn all() -> Vec<Self> {
        let mut names = files(&["docs"], &["md"]);
        names.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(str::to_owned));
        names.iter().map(|name| Self::read(name)).collect()
    }

    /// The text and the target of each link.
    fn links(&self) -> Vec<(String, String)> {
        let text = self.prose.join("\n");
        let ends = text.match_indices("](").map(|(at, _)| at);
        let link = |at: usize| {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            let label = text[..at].rsplit('[').next().unwrap_or_default();
            (label.to_owned(), target.to_owned())
        };
        ends.map(link).collect()
    }

    /// What stands between backticks.
    fn code(&self) -> Vec<String> {
        let spans = |line: &String| {
            line.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        self.prose.iter().flat_map(spans).collect()
    }

    /// The code and the lines of shell samples: what a reader may type.
    fn typed(&self) -> Vec<String> {
        let shell = self
            .fences
            .iter()
            .filter(|fence| fence.info.starts_with("sh"));
        let lines = shell.flat_map(|fence| fence.body.lines().map(|line| line.trim().to_owned()));
        self.code().into_iter().chain(lines).collect()
    }

    /// The anchors of its headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose.iter().filter(|line| line.starts_with('#'));
        let anchor = |line: &String| {
            let title = line
                .trim_start_matches('#')
                .trim()
                .to_lowercase()
                .replace(' ', "-");
            title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
                .collect()
        };
        headings.map(anchor).collect()
    }

    /// The rows of the tables under a heading, up to the next heading; the cells without backticks around them.
    fn rows(&self, heading: &str) -> Vec<Vec<String>> {
        let mut lines = self
            .prose
            .iter()
            .skip_while(|line| line.trim_start_matches('#').trim() != heading);
        assert!(
            lines.next().is_some(),
            "{}: there is no heading {heading:?}",
            self.name
        );
        let lines = lines
            .take_while(|line| !line.starts_with('#'))
            .filter(|line| line.starts_with("| "));
        let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
        let cells = |line: &String| {
            line.trim()
                .trim_matches('|')
                .split(" | ")
                .map(cell)
                .collect::<Vec<_>>()
        };
        // The first row of a table is its head.
        let rows: Vec<_> = lines.map(cells).skip(1).collect();
        assert!(
            !rows.is_empty(),
            "{}: no table under {heading:?}",
            self.name
        );
        rows
    }

    /// The first cells of those rows.
    fn keys(&self, heading: &str) -> BTreeSet<String> {
        self.rows(heading)
            .into_iter()
            .filter_map(|mut row| (!row.is_empty()).then(|| row.swap_remove(0)))
            .collect()
    }
}

fn strings(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&item| item.to_owned()).collect()
}

#[test]
fn every_error_code_is_explained() {
    let document = Document::read("docs/troubleshooting.md");
    let told: BTreeSet<_> = document
        .rows("Error codes")
        .into_iter()
        .map(|row| row[..2].join(" "))
        .collect();
    let known: BTreeSet<_> = Code::ALL
        .iter()
        .map(|code| format!("{} {code:?}", *code as u32))
        .collect();
    assert_eq!(told, known);
}

#[test]
fn every_event_is_explained() {
    let told = Document::read("docs/troubleshooting.md").keys("Events");
    let known: BTreeSet<_> = EventReason::ALL
        .iter()
        .map(|reason| reason.name().to_owned())
        .collect();
    assert_eq!(told, known);
}

#[test]
fn every_key_is_explained() {
    let document = Document::read("docs/administrator.md");
    assert_eq!(document.keys("Keys of the daemon"), strings(Settings::KEYS));
    assert_eq!(
        document.keys("Keys without effect"),
        strings(Settings::IGNORED_KEYS)
    );
    let shims = document.keys("Keys of the shim");
    assert_eq!(shims, keys_in(&read("shim/src/settings.rs")));
    let daemons: BTreeSet<_> = shims
        .into_iter()
        .filter(|key| !Settings::KEYS.contains(&key.as_str()))
        .collect();
    assert_eq!(
        daemons,
        strings(Settings::SHIM_KEYS),
        "the daemon warns of the shim's keys"
    );
    // What is read and not listed would be called unknown.
    let source = read("daemon/src/config/settings.rs");
    let (_, reading) = source
        .split_once("pub fn read(")
        .expect("the function is there");
    let (reading, _) = reading.split_once("\n    }\n").expect("it ends");
    // Serde's word for the case of the keys in an object is none of them.
    let reading = reading.to_owned()
        + &read("daemon/src/config/telemetry.rs").replace("\"camelCase\"", "")
        + &read("daemon/src/config/install.rs");
    let is_listed = |key: &str| {
        [Settings::KEYS, Settings::SHIM_KEYS]
            .concat()
            .contains(&key)
    };
    let unlisted: Vec<_> = keys_in(&reading)
        .into_iter()
        .filter(|key| !is_listed(key))
        .collect();
    assert_eq!(unlisted, Vec::<String>::new());
}

/// The string literals in a source that look like a key of the configuration.
fn keys_in(source: &str) -> BTreeSet<String> {
    let is_key = |text: &&str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.contains(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|byte| byte.is_ascii_alphabetic())
            // How serde is told to spell.
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
fn defaults_are_as_told() {
    let document = Document::read("docs/administrator.md");
    let mut told = Map::new();
    for row in document.rows("Keys of the daemon") {
        if row[1] != "none" {
            let value =
                serde_json::from_str(&row[1]).unwrap_or_else(|error| panic!("{row:?}: {error}"));
            told.insert(row[0].clone(), value);
        }
    }
    let settings = |text: &str| {
        let fields = Fields::parse(text).expect("an object");
        format!(
            "{:#?}",
            Settings::read(&fields).expect("values that are allowed")
        )
    };
    assert_eq!(settings(&Value::from(told).to_string()), settings("{}"));

    let source = read("shim/src/settings.rs");
    for row in document.rows("Keys of the shim") {
        let expected = match row[0].as_str() {
            "daemonSocketDir" => wire::SOCKET_DIR == row[1].trim_matches('"'),
            "stateDir" => wire::STATE_DIR == row[1].trim_matches('"'),
            key => source.contains(&format!("{key:?}, {}", row[1])),
        };
        assert!(expected, "{row:?}");
    }
}

#[test]
fn samples_are_accepted() {
    for document in Document::all() {
        for fence in &document.fences {
            let place = format!("{}: {}", document.name, fence.body);
            match fence.info.as_str() {
                "yaml" => check_manifests(&fence.body, &place),
                "json" => drop(
                    serde_json::from_str::<Value>(&fence.body)
                        .unwrap_or_else(|e| panic!("{place}: {e}")),
                ),
                "json daemon-config" => check_daemon_config(&fence.body, &place),
                "json network-status" => {
                    let entries: Vec<NetworkStatus> =
                        serde_json::from_str(&fence.body).expect(&place);
                    assert_eq!(render(&entries), fence.body.trim_end(), "{place}");
                }
                "sh" | "text" | "" => {}
                other => panic!("{place}: it is not known what {other:?} must be"),
            }
        }
    }
    for name in files(&["deploy"], &["yaml", "yml"]) {
        check_manifests(&read(&name), &name);
    }
    for name in files(&["deploy"], &["json", "conflist", "conf"]) {
        serde_json::from_str::<Value>(&read(&name))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    check_daemon_config(
        &read("deploy/examples/daemon-config.json"),
        "deploy/examples/daemon-config.json",
    );
}

/// YAML; definitions and pods among it are such as Plexus accepts.
fn check_manifests(text: &str, place: &str) {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert!(!documents.is_empty(), "{place}: no document");
    for document in documents {
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
        let name = text("/metadata/name").unwrap_or_default();
        match text("/kind").unwrap_or_default() {
            "NetworkAttachmentDefinition" => {
                let defaults = Defaults {
                    name: Some(name),
                    version: Version::V1_0_0,
                };
                let Some(config) = text("/spec/config") else {
                    continue;
                };
                let network =
                    NetworkConfig::parse(config, defaults).and_then(NetworkConfig::require_plugin);
                network.unwrap_or_else(|error| panic!("{place}: {error}"));
            }
            "Pod" => {
                let annotations = document
                    .pointer("/metadata/annotations")
                    .cloned()
                    .unwrap_or_default();
                let annotations: BTreeMap<String, String> =
                    serde_json::from_value(annotations).expect(place);
                for key in [NETWORKS, DEFAULT_NETWORK] {
                    let Some(annotation) = annotations.get(key) else {
                        continue;
                    };
                    let selected = selection::parse(annotation, "default");
                    assert!(
                        !selected
                            .unwrap_or_else(|error| panic!("{place}: {error}"))
                            .is_empty(),
                        "{place}"
                    );
                }
            }
            _ => {}
        }
    }
}

/// A configuration of the daemon: all keys known, all values allowed.
fn check_daemon_config(text: &str, place: &str) {
    let fields = Fields::parse(text).unwrap_or_else(|error| panic!("{place}: {error}"));
    Settings::read(&fields).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!(
        Settings::unknown_keys(&fields),
        Vec::<&str>::new(),
        "{place}"
    );
}

#[test]
fn errors_of_annotations_are_as_told() {
    for row in Document::read("docs/workload-author.md").rows("When the annotation is wrong") {
        let error = selection::parse(&row[0], "default")
            .expect_err(&row[0])
            .to_string();
        assert!(error.contains(&row[1]), "{row:?}: {error}");
    }
}

#[test]
fn messages_are_as_told() {
    // The sources with their strings on one line.
    let sources: String = files(&["api", "shim", "daemon"], &["rs"])
        .iter()
        .map(|name| read(name))
        .collect();
    let sources = sources.replace("\\\"", "\"");
    let sources: String = sources.split("\\\n").map(str::trim_start).collect();
    for (page, heading) in [
        ("docs/workload-author.md", "When something is wrong"),
        ("docs/troubleshooting.md", "plexusd does not start"),
    ] {
        let document = Document::read(page);
        for row in document.rows(heading) {
            let quoted = row[0].split('`').next().unwrap_or_default();
            for part in quoted
                .split('…')
                .map(|part| part.trim_matches(|c: char| !c.is_alphanumeric()))
            {
                assert!(
                    sources.contains(part),
                    "{page}: {row:?}: nothing says {part:?}"
                );
            }
        }
    }
}

#[test]
fn links_lead_somewhere() {
    for document in Document::all() {
        let here = PathBuf::from(&document.name);
        for (label, target) in document.links() {
            let place = format!("{}: [{label}]({target})", document.name);
            if target.starts_with("https://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if path.is_empty() {
                here.clone()
            } else {
                here.with_file_name(path)
            };
            assert!(
                root().join(&path).exists(),
                "{place}: there is no such file"
            );
            if !anchor.is_empty() {
                let anchors = Document::read(&path.to_string_lossy()).anchors();
                assert!(
                    anchors.contains(anchor),
                    "{place}: the page has no such heading, but {anchors:?}"
                );
            }
            // A test that is named keeps what stands there.
            let label = label.trim_matches('`');
            if path.extension().is_some_and(|extension| extension == "rs")
                && !label.contains(['/', '.'])
            {
                let source = read(&path.to_string_lossy());
                assert!(
                    source.contains(&format!("fn {label}(")),
                    "{place}: the file has no such test"
                );
            }
        }
    }
}

#[test]
fn what_is_typed_exists() {
    let makefile = read("Makefile");
    let targets: BTreeSet<_> = makefile
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let sources: String = files(&["api", "shim", "daemon", "e2e"], &["rs", "sh"])
        .iter()
        .map(|name| read(name))
        .collect();
    for document in Document::all() {
        for typed in document.typed() {
            let place = format!("{}: {typed}", document.name);
            let words: Vec<_> = typed
                .split_whitespace()
                .skip_while(|word| *word == "sudo")
                .collect();
            let variables = words.iter().take_while(|word| word.contains('=')).count();
            match words.get(variables..).unwrap_or_default() {
                ["make", target, ..] => {
                    assert!(targets.contains(target), "{place}: no such target");
                }
                ["plexusd", first, ..] if first.starts_with(|c: char| c.is_ascii_lowercase()) => {
                    let line = words[variables..]
                        .iter()
                        .take_while(|word| !["|", "&&", "&", "#"].contains(word));
                    Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{place}: {error}"));
                }
                _ => {}
            }
            for word in words {
                let path = word.trim_matches(|c: char| {
                    !c.is_alphanumeric() && !matches!(c, '/' | '.' | '_' | '-')
                });
                let is_pattern = path.contains(['*', '<', '{', '$']);
                if PLACES
                    .iter()
                    .any(|place| path.starts_with(&format!("{place}/")))
                    && !is_pattern
                {
                    assert!(root().join(path).exists(), "{place}: there is no {path}");
                }
                let variable = word.split('=').next().unwrap_or_default();
                if variable.starts_with("PLEXUS_") {
                    assert!(
                        sources.contains(variable),
                        "{place}: nothing reads {variable}"
                    );
                }
            }
        }
    }
}
