//! Network-attachment-definitions and network configurations.

use std::sync::Arc;

use plexus_api::cni::{ConfigError, NetworkConfig};
use plexus_api::json::PathStep;
use plexus_api::quote;
use serde_json::Value;

use super::finding::{Findings, Reporter, Rule, Severity};
use super::plugins;
use super::source::{Embedded, Source};
use crate::cluster::manifests::{Object, Position, definition};
use crate::cluster::{Definition, RESOURCE_NAME};
use crate::gather::check_resource_name;
use crate::model::meta_plugin_type;
use crate::suggest::suggest;

/// A definition that was checked.
#[derive(Debug)]
pub(super) struct Checked<'a> {
    pub(super) source: &'a Source,
    pub(super) object: &'a Object,
    pub(super) definition: Definition,
    /// `spec.config`. `None` if it is missing or invalid.
    pub(super) config: Option<Arc<NetworkConfig>>,
}

impl Checked<'_> {
    /// `NetworkAttachmentDefinition namespace/name`.
    pub(super) fn label(&self) -> String {
        let Definition {
            namespace, name, ..
        } = &self.definition;
        format!("NetworkAttachmentDefinition {namespace}/{name}")
    }

    /// The configuration in its file.
    pub(super) fn text(&self) -> Embedded<'_> {
        let text = self.object.value["spec"]["config"].as_str();
        let path = self.object.path(&["spec".into(), "config".into()]);
        let text = text.unwrap_or_default();
        Embedded::string(self.source, self.object.document, path, text)
    }
}

/// Checks a definition. Returns `None` if the object is not a definition that Plexus can read.
pub(super) fn check<'a>(
    findings: &mut Findings,
    source: &'a Source,
    object: &'a Object,
) -> Option<Checked<'a>> {
    let at = |path: &[PathStep]| source.value(object.document, &object.path(path));
    let definition = match definition(object.value.clone()) {
        Ok(definition) => definition,
        Err(reason) => {
            let position = at(&["spec".into(), "config".into()]);
            let kind = (Severity::Error, Rule::Definition);
            findings.add(kind, &source.name, position, reason);
            return None;
        }
    };
    let mut checked = Checked {
        source,
        object,
        definition,
        config: None,
    };
    let label = checked.label();
    check_spec(findings, source, object, &label);
    if let Err(error) = check_resource_name(&checked.definition) {
        let path = ["metadata", "annotations", RESOURCE_NAME].map(PathStep::from);
        let kind = (Severity::Error, Rule::Definition);
        findings.add(kind, &source.name, at(&path), format!("{label}: {error}"));
    }
    let has_resource = checked.definition.resource_name.is_some();
    let config = match checked.definition.network_config() {
        Ok(config) => config,
        Err(error) => {
            let text = checked.text();
            let position = position_of(&text, &error);
            let kind = (Severity::Error, Rule::Definition);
            findings.add(kind, &source.name, position, format!("{label}: {error}"));
            return Some(checked);
        }
    };
    if let Some(config) = &config {
        let text = checked.text();
        let mut reporter = Reporter {
            findings,
            text: &text,
            label: &label,
        };
        check_config(&mut reporter, config, has_resource);
    }
    checked.config = config;
    Some(checked)
}

/// Unknown keys of `spec`: without `config`, the network is looked up on the node.
fn check_spec(findings: &mut Findings, source: &Source, object: &Object, label: &str) {
    let spec = object.value["spec"].as_object();
    for key in spec.into_iter().flat_map(|spec| spec.keys()) {
        if let Some(known) = suggest(key, ["config"]) {
            let position = source.key(
                object.document,
                &object.path(&["spec".into(), key.as_str().into()]),
            );
            let text = format!(
                "{label}: spec has the unknown key {}; did you mean {known:?}?",
                quote(key)
            );
            let kind = (Severity::Error, Rule::UnknownKey);
            findings.add(kind, &source.name, position, text);
        }
    }
}

/// Checks a network configuration that Plexus can read.
fn check_config(reporter: &mut Reporter<'_, '_>, config: &NetworkConfig, has_resource: bool) {
    if let Some(kind) = meta_plugin_type(config) {
        let text = format!(
            "its configuration has a plugin of type {kind:?}, which would call Plexus again, so pods with this \
             network are refused"
        );
        let position = reporter.text.value(&["type".into()]);
        reporter.error(Rule::Definition, position, &text);
    }
    plugins::check(reporter, config, has_resource);
}

/// Checks a file with the network configuration of a runtime.
pub(super) fn check_file(
    findings: &mut Findings,
    source: &Source,
    config: Result<NetworkConfig, ConfigError>,
) {
    let text = Embedded::file(source);
    match config {
        Ok(config) => {
            let label = format!("network {}", quote(&config.name));
            let mut reporter = Reporter {
                findings,
                text: &text,
                label: &label,
            };
            plugins::check(&mut reporter, &config, false);
        }
        Err(error) => {
            let kind = (Severity::Error, Rule::Definition);
            let position = position_of(&text, &error);
            findings.add(kind, &source.name, position, error.to_string());
        }
    }
}

/// The position of an error in a configuration.
fn position_of(text: &Embedded<'_>, error: &ConfigError) -> Position {
    match error {
        ConfigError::NotAnObject(_) => text.syntax_error(),
        ConfigError::Key { key, .. } => text.value(&path_of(key)),
        ConfigError::Name(_) => text.value(&["name".into()]),
        ConfigError::Version(_) => text.value(&["cniVersion".into()]),
        ConfigError::Plugins { .. } | ConfigError::NoPlugin(_) => text.value(&["plugins".into()]),
        ConfigError::Limit(_) | ConfigError::Keys(_) | ConfigError::ListAsPlugin => text.start(),
    }
}

/// The path of a key in an error: `plugins[1].type`.
fn path_of(key: &str) -> Vec<PathStep> {
    let parts = key.split('.').flat_map(|part| {
        let (name, index) = part.split_once('[').unwrap_or((part, ""));
        let index: Option<usize> = index.trim_end_matches(']').parse().ok();
        std::iter::once(PathStep::from(name)).chain(index.map(PathStep::from))
    });
    parts.collect()
}

/// Whether the value of a file is the network configuration of a runtime.
pub(super) fn is_network_config(value: &Value) -> bool {
    let is_plugin = |value: &Value| value.get("type").is_some_and(Value::is_string);
    let plugins = value.get("plugins").and_then(Value::as_array);
    let is_list = plugins.is_some_and(|plugins| plugins.iter().any(is_plugin));
    value.get("cniVersion").is_some_and(Value::is_string) && (is_list || is_plugin(value))
}
