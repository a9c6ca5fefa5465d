//! What lint reports.

use std::fmt;

use super::source::Embedded;
use crate::cluster::manifests::Position;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// A pod, a definition or the daemon will not work.
    Error,
    /// Probably a mistake, although nothing fails.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// The kinds of findings. The names are stable: other programs filter by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    Annotation,
    DaemonConfig,
    Definition,
    Duplicate,
    IpOverlap,
    Manifest,
    Plan,
    PluginConfig,
    SharedName,
    UnknownKey,
    Yaml,
}

impl Rule {
    pub(super) const ALL: [Self; 11] = [
        Self::Annotation,
        Self::DaemonConfig,
        Self::Definition,
        Self::Duplicate,
        Self::IpOverlap,
        Self::Manifest,
        Self::Plan,
        Self::PluginConfig,
        Self::SharedName,
        Self::UnknownKey,
        Self::Yaml,
    ];

    /// The name in all formats.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Annotation => "annotation",
            Self::DaemonConfig => "daemon-config",
            Self::Definition => "definition",
            Self::Duplicate => "duplicate",
            Self::IpOverlap => "ip-overlap",
            Self::Manifest => "manifest",
            Self::Plan => "plan",
            Self::PluginConfig => "plugin-config",
            Self::SharedName => "shared-name",
            Self::UnknownKey => "unknown-key",
            Self::Yaml => "yaml",
        }
    }

    /// What the rule reports.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Annotation => "An annotation that selects networks is invalid",
            Self::DaemonConfig => "A value in the configuration of plexusd is invalid",
            Self::Definition => "A network configuration is invalid",
            Self::Duplicate => "An object or a key is present twice",
            Self::IpOverlap => "Two networks of a namespace have overlapping address ranges",
            Self::Manifest => "An object or an annotation has no effect",
            Self::Plan => "The networks of a pod cannot be attached together",
            Self::PluginConfig => "A plugin refuses or ignores a value of its configuration",
            Self::SharedName => "Two namespaces share the leases of a network name",
            Self::UnknownKey => "A key is probably misspelled, or in the wrong place",
            Self::Yaml => "The file is not YAML or JSON",
        }
    }
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) file: String,
    pub(super) position: Position,
    pub(super) severity: Severity,
    pub(super) rule: Rule,
    /// The object, the cause and the next step, in one line.
    pub(super) text: String,
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn add(
        &mut self,
        (severity, rule): (Severity, Rule),
        file: &str,
        position: Position,
        text: impl Into<String>,
    ) {
        let text = plexus_api::without_os_codes(&text.into()).into_owned();
        self.0.push(Finding {
            file: file.to_owned(),
            position,
            severity,
            rule,
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
        });
    }

    pub(super) fn count(&self, severity: Severity) -> usize {
        let findings = self.0.iter();
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    }
}

/// Adds findings about one text.
pub(super) struct Reporter<'a, 'b> {
    pub(super) findings: &'b mut Findings,
    pub(super) text: &'b Embedded<'a>,
    /// The object, for messages.
    pub(super) label: &'b str,
}

impl Reporter<'_, '_> {
    pub(super) fn error(&mut self, rule: Rule, position: Position, text: &str) {
        self.add((Severity::Error, rule), position, text);
    }

    pub(super) fn warning(&mut self, rule: Rule, position: Position, text: &str) {
        self.add((Severity::Warning, rule), position, text);
    }

    fn add(&mut self, kind: (Severity, Rule), position: Position, text: &str) {
        let text = format!("{}: {text}", self.label);
        let file = &self.text.source.name;
        self.findings.add(kind, file, position, text);
    }
}
