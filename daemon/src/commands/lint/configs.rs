//! Configurations of plexusd.

use plexus_api::json::{Object, PathStep, keys_match};
use plexus_api::quote;
use serde_json::Value;

use super::finding::{Findings, Reporter, Rule};
use super::json_text;
use super::source::{Embedded, Source};
use crate::cluster::manifests::{Object as ManifestObject, Position};
use crate::config::{Fields, FieldsError, Settings};
use crate::gather::check_delegate;
use crate::suggest::suggest;

/// The name of the file, and of its key in a `ConfigMap`.
const NAME: &str = "daemon-config.json";

/// The keys that other keys need. The files that are merged with a file may have them.
const OTHER_FILES: &str = r#"{
    "shimDir": "/opt/cni/bin", "cniConfigDir": "/etc/cni/net.d", "multusAutoconfigDir": "/etc/cni/net.d"}"#;

/// Whether the value of a file is a configuration of plexusd: the file has that name, or the value
/// has a key that only plexusd and Multus have, possibly misspelled.
pub(super) fn is_daemon_config(source: &Source, value: &Value) -> bool {
    let is_own = |key: &String| {
        let mut known = Settings::KEYS.iter().chain(Settings::SHIM_KEYS);
        key.len() > 5
            && (known.any(|known| keys_match(known, key))
                || suggest(key, Settings::KEYS.iter().copied()).is_some())
    };
    let mut keys = value
        .as_object()
        .into_iter()
        .flat_map(|object| object.keys());
    source.name.ends_with(NAME) || keys.any(is_own)
}

/// The configuration of plexusd in a `ConfigMap`.
pub(super) fn in_config_map<'a>(
    source: &'a Source,
    object: &'a ManifestObject,
) -> Option<Embedded<'a>> {
    let text = object.value["data"][NAME].as_str()?;
    let path = object.path(&["data".into(), NAME.into()]);
    Some(Embedded::string(source, object.document, path, text))
}

/// Checks a configuration.
pub(super) fn check(findings: &mut Findings, text: &Embedded<'_>) {
    let mut reporter = Reporter {
        findings,
        text,
        label: "configuration of plexusd",
    };
    let fields = match Fields::parse(text.text) {
        Ok(fields) => fields,
        Err(error) => {
            let position = text.syntax_error();
            reporter.error(Rule::DaemonConfig, position, &error.to_string());
            return;
        }
    };
    let is_whole = text.source.name.ends_with(NAME) || text.is_inside();
    let merged = if is_whole {
        Ok(fields.clone())
    } else {
        Fields::parse(OTHER_FILES).map(|others| others.overlaid_by(&fields))
    };
    if let Err(error) = merged.and_then(|merged| Settings::read(&merged)) {
        let position = match &error {
            FieldsError::Json(_) => text.start(),
            FieldsError::Value { key, .. } => key_position(text, key),
        };
        reporter.error(Rule::DaemonConfig, position, &error.to_string());
    }
    for warning in Settings::startup_warnings(&fields) {
        let key = warning.split([':', ' ', '.']).next().unwrap_or_default();
        let position = key_position(text, key);
        reporter.warning(Rule::DaemonConfig, position, &warning);
    }
    for unknown in Settings::unknown_keys(&fields) {
        let path = [PathStep::from(unknown.as_str())];
        // As written: the unknown keys are in lower case.
        let key = json_text::members(text.text)
            .into_iter()
            .map(|(key, _)| key)
            .find(|key| keys_match(key, &unknown));
        let text = format!(
            "unknown key {}, which has no effect{}",
            quote(&key.unwrap_or_else(|| unknown.clone())),
            Settings::similar_key(&unknown)
                .map(|known| format!("; did you mean {known:?}?"))
                .unwrap_or_default()
        );
        let position = reporter.text.key(&path);
        reporter.warning(Rule::UnknownKey, position, &text);
    }
    check_delegates(&mut reporter, &fields);
}

/// The position of a key that an error names: at the top, or in `logOptions`.
fn key_position(text: &Embedded<'_>, key: &str) -> Position {
    let paths = [vec![key.into()], vec!["logOptions".into(), key.into()]];
    let found = paths
        .into_iter()
        .find(|path| json_text::value(text.text, path).is_some());
    text.value(&found.unwrap_or_default())
}

/// The networks of `delegates`, which are read at the first call.
fn check_delegates(reporter: &mut Reporter<'_, '_>, fields: &Fields) {
    let delegates = fields.get::<Vec<Object>>("delegates", "").ok().flatten();
    for (index, config) in delegates.unwrap_or_default().iter().enumerate() {
        if let Err(error) = check_delegate(index, config) {
            let position = reporter.text.value(&["delegates".into(), index.into()]);
            reporter.error(Rule::DaemonConfig, position, &error.to_string());
        }
    }
}
