//! The shim and the runtime's configuration.

use super::facts::Facts;
use super::finding::{Finding, Outcome};
use crate::install::{InstallProblem, ProblemKind, installation_problems};

/// The installed shim is the one of the daemon.
pub(super) fn shim(facts: &Facts) -> Outcome {
    if facts.settings().shim_dir.is_none() {
        return Outcome::NotApplicable("shimDir is not set, so plexusd does not install the shim");
    }
    let is_shim = |found: &InstallProblem| found.kind == ProblemKind::ShimNotInstalled;
    let problems = problems(facts).into_iter().filter(is_shim);
    let findings = problems.map(|found| Finding::of("shimDir", found.problem));
    findings.collect::<Vec<_>>().into()
}

/// The configuration of Plexus is published, and the runtime loads it.
pub(super) fn runtime_configuration(facts: &Facts) -> Outcome {
    if facts.settings().publish.is_none() {
        return Outcome::NotApplicable(
            "cniConfigDir is not set, so plexusd does not publish a configuration",
        );
    }
    let is_shim = |found: &InstallProblem| found.kind == ProblemKind::ShimNotInstalled;
    let problems = problems(facts).into_iter();
    let problems = problems.filter(|found| !is_shim(found));
    let findings = problems.map(|found| Finding::of("cniConfigDir", found.problem));
    findings.collect::<Vec<_>>().into()
}

fn problems(facts: &Facts) -> Vec<InstallProblem> {
    let found = facts.default_network.as_ref();
    let network = found.and_then(|found| found.default_network.current().ok());
    let config = network.as_ref().map(|network| &*network.config);
    let (settings, fields) = (facts.settings(), &facts.config.fields);
    installation_problems(settings, fields, facts.shim(), config)
}
