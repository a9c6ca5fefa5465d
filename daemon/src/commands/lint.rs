//! `plexusd lint`: finds mistakes in definitions, pods and configurations before they are used.
//!
//! The code that plans the networks of pods decides what is valid. Lint adds what only plugins would
//! refuse, and what is valid but probably not meant.

mod configs;
mod definitions;
mod files;
mod finding;
mod ipam;
mod json_text;
mod output;
mod plugin_keys;
mod plugins;
mod pods;
mod source;
mod together;

use std::io;
use std::sync::Arc;

use anyhow::bail;
use plexus_api::cni::{Defaults, NetworkConfig, Version};
use plexus_api::quote;
use serde_json::{Value, json};

use crate::cli::LintArgs;
use crate::cluster::manifests::{Kind, Object, Position, objects};
use crate::cluster::{Definition, RESOURCE_NAME};
use crate::config::{Fields, Settings};
use crate::gather::Offline;
use crate::suggest::suggest;
use definitions::Checked;
use files::Files;
use finding::{Findings, Rule, Severity};
pub(super) use ipam::{Assignable, host_local_sets};
use source::{Embedded, Source};

const KIND: &str = "NetworkAttachmentDefinition";
const GROUP: &str = "k8s.cni.cncf.io/v1";

/// Prints the mistakes in files. Without an error among them, the command succeeds.
///
/// # Errors
/// A file cannot be read, a directory has no file to check, or a file has an error.
pub fn lint(args: &LintArgs) -> anyhow::Result<()> {
    let files = Files::read(args)?;
    for skipped in &files.skipped {
        eprintln!("{skipped}");
    }
    let (findings, checked) = check(&files.sources);
    output::print(&findings, args.output, &mut io::stdout().lock())?;
    let errors = findings.count(Severity::Error);
    let warnings = findings.count(Severity::Warning);
    let summary = format!(
        "{} and {} in {}",
        counted(errors, "error"),
        counted(warnings, "warning"),
        counted(checked, "object")
    );
    if errors > 0 {
        bail!("{summary}");
    }
    eprintln!("{summary}");
    Ok(())
}

/// The findings in all files, and the number of objects that were checked: definitions, pods, pod
/// templates with networks, and configurations.
fn check(sources: &[Source]) -> (Findings, usize) {
    let mut findings = Findings::default();
    let mut all: Vec<(&Source, Object)> = Vec::new();
    let mut count = 0;
    for source in sources {
        match read(&mut findings, source) {
            Content::Objects(objects) => {
                all.extend(objects.into_iter().map(|object| (source, object)));
            }
            Content::Configuration => count += 1,
            Content::Unreadable => {}
        }
    }
    together::check_duplicates(&mut findings, &all);
    let mut definitions: Vec<Checked<'_>> = Vec::new();
    let mut pods = Vec::new();
    for (source, object) in &all {
        match &object.kind {
            Kind::Definition => {
                count += 1;
                definitions.extend(definitions::check(&mut findings, source, object));
                continue;
            }
            Kind::Other { api_version, kind } if kind == "ConfigMap" && api_version == "v1" => {
                if let Some(text) = configs::in_config_map(source, object) {
                    count += 1;
                    configs::check(&mut findings, &text);
                }
            }
            Kind::Other { api_version, kind } => {
                check_kind(&mut findings, source, object, api_version, kind);
            }
            Kind::Pod | Kind::Invalid(_) => {}
        }
        pods.extend(pods::find(&mut findings, source, object));
    }
    count += pods.len();
    together::check_addresses(&mut findings, &definitions);
    // An empty configuration has only defaults, which are valid.
    if let Ok(settings) = Settings::read(&Fields::default()) {
        for pod in &pods {
            let known = together::known_to(pod.source, &definitions);
            let offline = Offline {
                settings: &settings,
                definitions: &known,
                is_tolerant: true,
            };
            pods::check(&mut findings, pod, offline);
        }
    }
    findings.0.sort();
    findings.0.dedup();
    (findings, count)
}

/// What a file has.
enum Content {
    Objects(Vec<Object>),
    /// A configuration, which was checked.
    Configuration,
    Unreadable,
}

fn read(findings: &mut Findings, source: &Source) -> Content {
    let defaults = Defaults {
        name: None,
        version: Version::V1_0_0,
    };
    let extension = source.name.rsplit('.').next().unwrap_or_default();
    let is_json = source.text.trim_start().starts_with('{');
    let value = is_json.then(|| serde_json::from_str(&source.text).unwrap_or(Value::Null));
    let value = value.filter(|value| value.get("kind").is_none());
    let is_network = value.as_ref().is_some_and(definitions::is_network_config);
    let config = match extension {
        "conf" if is_json => Some(NetworkConfig::parse_plugin(&source.text, defaults)),
        "conflist" => Some(NetworkConfig::parse(&source.text, defaults)),
        _ => is_network.then(|| NetworkConfig::parse(&source.text, defaults)),
    };
    match (config, value) {
        (Some(config), _) => {
            definitions::check_file(findings, source, config);
            Content::Configuration
        }
        (None, Some(value)) if configs::is_daemon_config(source, &value) => {
            configs::check(findings, &Embedded::file(source));
            Content::Configuration
        }
        _ => match objects(&source.text) {
            Ok(objects) => Content::Objects(objects),
            Err(error) => {
                let hint = if source.text.contains("{{") {
                    "; render the template first, as with `helm template`"
                } else {
                    ""
                };
                let text = format!("the file is not YAML: {error}{hint}");
                let position = error.position.unwrap_or(Position::START);
                let kind = (Severity::Error, Rule::Yaml);
                findings.add(kind, &source.name, position, text);
                Content::Unreadable
            }
        },
    }
}

/// Reports a definition with another `apiVersion` or a misspelled kind.
fn check_kind(
    findings: &mut Findings,
    source: &Source,
    object: &Object,
    api_version: &str,
    kind: &str,
) {
    // Other groups may have a kind of the same name.
    let is_similar = api_version.contains("cni.cncf.io") || api_version.is_empty();
    let (key, expected) = if kind == KIND && is_similar {
        ("apiVersion", GROUP)
    } else if api_version == GROUP && suggest(kind, [KIND]).is_some() {
        ("kind", KIND)
    } else {
        return;
    };
    let name = object.value["metadata"]["name"].as_str().unwrap_or("?");
    let text = format!(
        "{kind} {name}: {key} is {}, but the kind of Plexus and Multus is {KIND} of {GROUP}; write {expected}",
        quote(object.value[key].as_str().unwrap_or_default()),
    );
    let position = source.value(object.document, &object.path(&[key.into()]));
    let severity = (Severity::Error, Rule::Manifest);
    findings.add(severity, &source.name, position, text);
}

/// The mistakes in definitions that plexusd or a plugin refuses, each with the namespace and the name
/// of its definition. Each text names the definition.
pub(super) fn definition_errors(definitions: &[Arc<Definition>]) -> Vec<(String, String, String)> {
    let sources = definitions.iter().map(|definition| {
        let Definition {
            namespace,
            name,
            config,
            resource_name,
            ..
        } = &**definition;
        let manifest = json!({
            "apiVersion": GROUP, "kind": KIND,
            "metadata": {"namespace": namespace, "name": name, "annotations": {RESOURCE_NAME: resource_name}},
            "spec": {"config": config},
        });
        Source {
            name: format!("{namespace}/{name}"),
            text: manifest.to_string(),
        }
    });
    let (findings, _) = check(&sources.collect::<Vec<_>>());
    let errors = findings.0.into_iter();
    let errors = errors.filter(|finding| finding.severity == Severity::Error);
    errors
        .filter_map(|finding| {
            let (namespace, name) = finding.file.split_once('/')?;
            Some((namespace.to_owned(), name.to_owned(), finding.text))
        })
        .collect()
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests;
