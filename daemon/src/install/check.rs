//! What is wrong with the installation, found without changing it. Blocking.

use std::path::PathBuf;

use plexus_api::cni::NetworkConfig;

use super::config_file::ConfigFile;
use super::shim::Shim;
use super::{InstallProblem, ProblemKind, UninstallMarker};
use crate::config::{Fields, Settings};
use crate::problem::Problem;

/// The problems of the installed shim and of the runtime's configuration. `shim` is the daemon's
/// own copy of the shim. Without the default network, the configuration only has to be one of
/// Plexus.
pub(crate) fn installation_problems(
    settings: &Settings,
    fields: &Fields,
    shim: PathBuf,
    default_network: Option<&NetworkConfig>,
) -> Vec<InstallProblem> {
    let mut problems = Vec::new();
    let mut add = |kind, problem: Option<Problem>| {
        problems.extend(problem.map(|problem| InstallProblem { kind, problem }));
    };
    if UninstallMarker::new(&settings.state_dir).is_set() {
        let text = format!(
            "an uninstall has begun: {}/uninstalling exists",
            settings.state_dir.display()
        );
        let problem = Problem::new(text, "restart plexusd to install Plexus again");
        add(ProblemKind::Uninstalling, Some(problem));
    }
    if let Some(dir) = &settings.shim_dir {
        let shim = Shim::new(shim, dir.clone());
        add(ProblemKind::ShimNotInstalled, shim.difference());
    }
    if let Some(publish) = &settings.publish {
        let file = ConfigFile::new(publish.clone(), fields);
        let difference = file.difference(default_network);
        add(ProblemKind::ConfigNotPublished, difference);
        add(ProblemKind::ConfigNotFirst, file.not_first());
    }
    problems
}
