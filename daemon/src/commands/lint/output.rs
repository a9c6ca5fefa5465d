//! The formats of the findings.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::finding::{Finding, Findings, Rule, Severity};
use crate::cli::LintFormat;

pub(super) fn print(
    findings: &Findings,
    format: LintFormat,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        LintFormat::Text => findings.0.iter().try_for_each(|finding| {
            let Finding {
                file,
                position,
                severity,
                rule,
                text,
            } = finding;
            let (line, column, rule) = (position.line, position.column, rule.name());
            writeln!(out, "{file}:{line}:{column}: {severity}[{rule}]: {text}")
        }),
        LintFormat::Json => {
            let findings: Vec<_> = findings.0.iter().map(finding_json).collect();
            writeln!(out, "{:#}", Value::from(findings))
        }
        LintFormat::Sarif => writeln!(out, "{:#}", sarif(findings)),
        LintFormat::Github => findings.0.iter().try_for_each(|finding| {
            writeln!(
                out,
                "::{} file={},line={},col={},title={}::{}",
                finding.severity,
                escape_property(&finding.file),
                finding.position.line,
                finding.position.column,
                finding.rule.name(),
                escape(&finding.text)
            )
        }),
    }
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "file": finding.file,
        "line": finding.position.line,
        "column": finding.position.column,
        "severity": finding.severity.to_string(),
        "rule": finding.rule.name(),
        "message": finding.text,
    })
}

/// The Static Analysis Results Interchange Format, version 2.1.0.
fn sarif(findings: &Findings) -> Value {
    let rules: Vec<_> = Rule::ALL
        .iter()
        .map(|rule| json!({"id": rule.name(), "shortDescription": {"text": rule.description()}}))
        .collect();
    let result = |finding: &Finding| {
        let level = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        json!({
            "ruleId": finding.rule.name(),
            "level": level,
            "message": {"text": finding.text},
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": finding.file},
                "region": {
                    "startLine": finding.position.line,
                    "startColumn": finding.position.column,
                },
            }}],
        })
    };
    let results: Vec<_> = findings.0.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "plexusd lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// Escapes the message of a workflow command of GitHub.
fn escape(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Escapes a property of a workflow command.
fn escape_property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}
