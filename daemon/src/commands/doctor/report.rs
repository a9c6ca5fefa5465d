//! The outcomes of all checks, as text and as JSON.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::check::Check;
use super::finding::{Finding, Level, Outcome};
use super::fix::FIXED;
use crate::cli::TableFormat;

/// The number of findings of a check that are printed as text.
const MAX_PRINTED: usize = 10;

/// The outcomes, in the order of the checks.
#[derive(Debug, Default)]
pub(super) struct Report {
    results: Vec<CheckResult>,
}

#[derive(Debug)]
struct CheckResult {
    check: Check,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The worst findings first.
    Checked(Vec<Finding>),
    /// Another check failed.
    Skipped(String),
    NotApplicable(&'static str),
}

/// A finding with its check.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    check: &'static str,
    #[serde(flatten)]
    finding: &'a Finding,
}

impl Report {
    pub(super) fn add(&mut self, check: Check, outcome: Outcome) {
        let state = match outcome {
            Outcome::Findings(mut findings) => {
                findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
                State::Checked(findings)
            }
            Outcome::NotApplicable(reason) => State::NotApplicable(reason),
        };
        self.results.push(CheckResult { check, state });
    }

    pub(super) fn skip(&mut self, check: Check, cause: Check) {
        let state = State::Skipped(format!("{} failed", cause.name()));
        self.results.push(CheckResult { check, state });
    }

    /// The check that failed, if the checks in `needed` did not all succeed. A check that was skipped
    /// counts as the one for which it was skipped.
    pub(super) fn unmet(&self, needed: &[Check]) -> Option<Check> {
        let needed = needed.iter().filter_map(|check| {
            let result = self.results.iter().find(|result| result.check == *check)?;
            match &result.state {
                State::Checked(_) if result.level() == Level::Failed => Some(*check),
                State::Skipped(_) => self.unmet(check.needs()),
                _ => None,
            }
        });
        needed.into_iter().next()
    }

    pub(super) fn findings_mut(&mut self) -> impl Iterator<Item = &mut Finding> {
        self.results
            .iter_mut()
            .flat_map(|result| match &mut result.state {
                State::Checked(findings) => findings.as_mut_slice(),
                _ => &mut [],
            })
    }

    fn level(&self) -> Level {
        let levels = self.results.iter().map(CheckResult::level);
        levels.max().unwrap_or(Level::Ok)
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.level() {
            Level::Ok => 0,
            Level::Warning => 1,
            Level::Failed => 2,
        })
    }

    pub(super) fn print(&self, format: TableFormat, out: &mut impl Write) -> io::Result<()> {
        match format {
            TableFormat::Json => writeln!(out, "{:#}", self.json()),
            TableFormat::Text => {
                for result in &self.results {
                    result.print(out)?;
                }
                writeln!(out, "{}", self.summary())
            }
        }
    }

    /// All findings, those of the worst level first, and the result of each check.
    fn json(&self) -> serde_json::Value {
        let mut findings: Vec<_> = self
            .results
            .iter()
            .flat_map(|result| {
                let check = result.check.name();
                let findings = result.findings().iter();
                findings.map(move |finding| Listed { check, finding })
            })
            .collect();
        findings.sort_by_key(|listed| std::cmp::Reverse(listed.finding.level));
        let checks: Vec<_> = self
            .results
            .iter()
            .map(|result| match result.reason() {
                Some(reason) => {
                    json!({"check": result.check.name(), "result": "skipped", "reason": reason})
                }
                None => json!({"check": result.check.name(), "result": result.level()}),
            })
            .collect();
        json!({"result": self.level(), "findings": findings, "checks": checks})
    }

    fn summary(&self) -> String {
        let count = |level| {
            let findings = self.results.iter().flat_map(CheckResult::findings);
            findings.filter(|finding| finding.level == level).count()
        };
        match (count(Level::Failed), count(Level::Warning)) {
            (0, 0) => "everything is in order".to_owned(),
            (failed, warnings) => format!("{failed} failed, {warnings} warnings"),
        }
    }
}

impl CheckResult {
    fn findings(&self) -> &[Finding] {
        match &self.state {
            State::Checked(findings) => findings,
            State::Skipped(_) | State::NotApplicable(_) => &[],
        }
    }

    fn level(&self) -> Level {
        let open = self
            .findings()
            .iter()
            .filter(|finding| finding.fix.as_deref() != Some(FIXED));
        open.map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    fn reason(&self) -> Option<&str> {
        match &self.state {
            State::Checked(_) => None,
            State::Skipped(reason) => Some(reason),
            State::NotApplicable(reason) => Some(reason),
        }
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let name = self.check.name();
        if let Some(reason) = self.reason() {
            return writeln!(out, "{:8} {name}: {reason}", "skipped");
        }
        let findings = self.findings();
        if findings.is_empty() {
            return writeln!(out, "{:8} {name}", Level::Ok.name());
        }
        for finding in findings.iter().take(MAX_PRINTED) {
            let Finding {
                level,
                subject,
                cause,
                remedy,
                fix,
                ..
            } = finding;
            writeln!(out, "{:8} {name}: {subject}: {cause}", level.name())?;
            for text in remedy.iter().chain(fix) {
                writeln!(out, "{:8}   {text}", "")?;
            }
        }
        if let Some(more @ 1..) = findings.len().checked_sub(MAX_PRINTED) {
            writeln!(out, "{:8} {name}: {more} more; `-o json` lists all", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
