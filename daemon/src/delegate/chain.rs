//! Runs the plugins of a network, in the order that each command requires.

use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_api::cni::{CniError, CniResult, Code, NetworkConfig, PluginConfig, PluginResult, Verb};
use tokio::time::Instant;

use super::answer::{self, PluginError};
use super::exec::Exec;
use super::request::{Payload, environment, stdin};
use super::{AddError, Delegates, PluginCall, ValidAttachment, lookup};
use crate::call_limits::Resource;
use crate::model::Attachment;

impl Delegates {
    /// Finds the executables of a network's plugins, in order.
    ///
    /// # Errors
    /// [`Code::PluginMissing`] for the first plugin that is missing or not executable.
    pub(crate) async fn find(
        &self,
        call: &PluginCall,
        network: &NetworkConfig,
    ) -> Result<Vec<PathBuf>, CniError> {
        let kinds = network.plugins.iter().map(PluginConfig::kind).collect();
        find(call, kinds, self.dirs(call)).await
    }

    /// Checks that the plugins of an attachment are installed. For a network of a definition, this
    /// includes the IPAM plugins: without its IPAM plugin, a plugin fails in the middle of ADD, and
    /// again in DEL. The IPAM plugin of a network on the node's disk may be part of the plugin, as
    /// `azure-cns` is.
    ///
    /// # Errors
    /// [`Code::PluginMissing`] for the first plugin that is missing or not executable.
    pub(crate) async fn check_installed(
        &self,
        call: &PluginCall,
        attachment: &Attachment,
    ) -> Result<(), CniError> {
        let network = &attachment.config;
        self.find(call, network).await?;
        if attachment.has_definition() {
            let kinds = network.plugins.iter().filter_map(PluginConfig::ipam_type);
            find(call, kinds.collect(), self.dirs(call))
                .await
                .map_err(|error| error.context("ipam.type"))?;
        }
        Ok(())
    }

    /// ADD: runs the plugins in order, each with the result of the previous plugin. Returns the
    /// result of the last plugin in the network's version (R-060, T-006).
    ///
    /// # Errors
    /// The error of the first plugin that fails. The caller undoes the plugins that ran.
    pub(crate) async fn add(
        &self,
        call: &PluginCall,
        attachment: &Attachment,
    ) -> Result<PluginResult, AddError> {
        let network = &attachment.config;
        let nothing_ran = |error| AddError { error, ran: false };
        let programs = self.find(call, network).await.map_err(nothing_ran)?;
        let dirs = self.dirs(call);
        let mut previous = attachment
            .auxiliary
            .then(|| PluginResult::from_result(CniResult::default(), network.cni_version))
            .transpose()
            .map_err(|error| nothing_ran(error.into()))?;
        for (index, (plugin, program)) in network.plugins.iter().zip(programs).enumerate() {
            let step = Step::of_attachment(call, Verb::Add, attachment, plugin);
            let payload = Payload::Attachment {
                capability_args: &attachment.capability_args,
                previous: previous.as_ref(),
            };
            let result = self
                .execute(step, payload, &dirs, &program, |stdout| {
                    step.parse_result(stdout)
                })
                .await
                .map_err(|error| step.add_error(error, index > 0))?;
            previous = Some(result);
        }
        previous.ok_or_else(|| {
            let msg = "the network has no plugin";
            nothing_ran(CniError::new(Code::InvalidConfig, msg))
        })
    }

    /// CHECK: runs the plugins in order until the first error, with the result of ADD. Runs
    /// nothing if the network has `disableCheck` or a version before 0.4.0.
    ///
    /// # Errors
    /// Also [`Code::IncompatibleVersion`] if the result cannot be converted to the network's
    /// version.
    pub(crate) async fn check(
        &self,
        call: &PluginCall,
        attachment: &Attachment,
        previous: &PluginResult,
    ) -> Result<(), CniError> {
        let network = &attachment.config;
        if !wants_check(network) {
            return Ok(());
        }
        let converted = previous.to_version(network.cni_version)?;
        let payload = Payload::Attachment {
            capability_args: &attachment.capability_args,
            previous: Some(&converted),
        };
        for plugin in &network.plugins {
            let step = Step::of_attachment(call, Verb::Check, attachment, plugin);
            self.find_and_execute(step, payload).await?;
        }
        Ok(())
    }

    /// STATUS: runs the plugins in order until the first error. Runs nothing if the network
    /// has a version before 1.1.0.
    pub(crate) async fn status(
        &self,
        call: &PluginCall,
        network: &NetworkConfig,
    ) -> Result<(), CniError> {
        if network.cni_version < Verb::Status.since() {
            return Ok(());
        }
        for plugin in &network.plugins {
            let step = Step::of_network(call, Verb::Status, network, plugin);
            self.find_and_execute(step, Payload::Status).await?;
        }
        Ok(())
    }

    /// GC: runs all plugins in order, even after errors. Runs nothing if the network has
    /// `disableGC` or a version before 1.1.0. `valid` lists the attachments to keep.
    ///
    /// # Errors
    /// The errors of all failed plugins, in order.
    pub(crate) async fn gc(
        &self,
        call: &PluginCall,
        network: &NetworkConfig,
        valid: &[ValidAttachment],
    ) -> Result<(), Vec<CniError>> {
        if !wants_gc(network) {
            return Ok(());
        }
        let mut errors = Vec::new();
        for plugin in &network.plugins {
            let step = Step::of_network(call, Verb::Gc, network, plugin);
            errors.extend(self.find_and_execute(step, Payload::Gc(valid)).await.err());
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    async fn find_and_execute(&self, step: Step<'_>, payload: Payload<'_>) -> Result<(), CniError> {
        let program = self.find_step(step).await?;
        self.execute(step, payload, &self.dirs(step.call), &program, |_| Ok(()))
            .await
            .map_err(|error| step.name_plugin(error.into()))
    }

    /// Finds the executable of the plugin of a step.
    pub(super) async fn find_step(&self, step: Step<'_>) -> Result<PathBuf, CniError> {
        find(step.call, vec![step.kind()], self.dirs(step.call))
            .await
            .map(|mut programs| programs.remove(0))
    }

    /// Runs one plugin and parses its stdout.
    pub(super) async fn execute<T>(
        &self,
        step: Step<'_>,
        payload: Payload<'_>,
        dirs: &[PathBuf],
        program: &Path,
        parse: impl FnOnce(&[u8]) -> Result<T, CniError>,
    ) -> Result<T, PluginError> {
        let Step {
            call,
            verb,
            network,
            attachment,
            plugin,
            ..
        } = step;
        let start = Instant::now();
        let deadline = start
            .checked_add(self.0.plugin_timeout)
            .map_or(call.limits.deadline, |end| end.min(call.limits.deadline));
        let limit = deadline.saturating_duration_since(start);
        let (marker, value) = &self.0.marker;
        let mut env = environment(call, verb, attachment, plugin, dirs);
        env.insert((*marker).to_owned(), value.clone());
        let ledger_lock = self.0.ledger_lock.upgrade();
        let exec = Exec {
            program,
            env: &env,
            ledger_lock: ledger_lock.as_deref(),
            stdin: &stdin(network, plugin, payload).map_err(PluginError::NotStarted)?,
            deadline,
            cancel: &call.limits.cancel,
        };
        let outcome = exec
            .run(&call.host)
            .await
            .map_err(|error| answer::not_started(&error))
            .inspect(|run| step.log_stderr(&run.stderr))
            .and_then(|run| answer::output(run, limit))
            .and_then(|stdout| parse(&stdout).map_err(PluginError::Failed));
        let duration = start.elapsed();
        let (kind, is_ok) = (step.kind(), outcome.is_ok());
        self.0
            .metrics
            .plugin_ran(&kind, verb.as_str(), duration, is_ok);
        step.log_run(duration, outcome.as_ref().err());
        outcome
    }

    pub(super) fn dirs(&self, call: &PluginCall) -> Vec<PathBuf> {
        lookup::search_path(&self.0.bin_dirs, &call.path)
    }
}

/// Whether CHECK applies to this network.
pub(crate) fn wants_check(network: &NetworkConfig) -> bool {
    !network.disable_check && network.cni_version >= Verb::Check.since()
}

/// Whether GC runs plugins of this network.
pub(crate) fn wants_gc(network: &NetworkConfig) -> bool {
    !network.disable_gc && network.cni_version >= Verb::Gc.since()
}

/// Finds the executable of each plugin type.
async fn find(
    call: &PluginCall,
    kinds: Vec<String>,
    dirs: Vec<PathBuf>,
) -> Result<Vec<PathBuf>, CniError> {
    let found = call
        .host
        .run(move || kinds.iter().map(|kind| lookup::find(kind, &dirs)).collect());
    call.limits
        .wait(found, || Resource::new("the plugin directories"))
        .await
        .map_err(|error| CniError::new(Code::TryAgain, error.to_string()))?
        .unwrap_or_else(|error| Err(answer::not_started(&error).into()))
}

/// One command for one plugin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) call: &'a PluginCall,
    verb: Verb,
    pub(super) network: &'a NetworkConfig,
    /// `None` for STATUS and GC.
    attachment: Option<&'a Attachment>,
    pub(super) plugin: &'a PluginConfig,
    /// Whether the IPAM plugin of `plugin` runs instead, with the same input.
    ipam: bool,
}

impl<'a> Step<'a> {
    pub(super) fn of_attachment(
        call: &'a PluginCall,
        verb: Verb,
        attachment: &'a Attachment,
        plugin: &'a PluginConfig,
    ) -> Self {
        Self {
            call,
            verb,
            network: &attachment.config,
            attachment: Some(attachment),
            plugin,
            ipam: false,
        }
    }

    pub(super) fn of_network(
        call: &'a PluginCall,
        verb: Verb,
        network: &'a NetworkConfig,
        plugin: &'a PluginConfig,
    ) -> Self {
        Self {
            call,
            verb,
            network,
            attachment: None,
            plugin,
            ipam: false,
        }
    }

    /// The same command for the IPAM plugin that the plugin runs, with the same input.
    pub(super) fn ipam(self) -> Self {
        Self { ipam: true, ..self }
    }

    /// The type of the plugin that runs.
    fn kind(&self) -> String {
        if self.ipam {
            self.plugin.ipam_type().unwrap_or_default()
        } else {
            self.plugin.kind()
        }
    }

    /// The result of an ADD, converted to the network's version: the next plugin must not get
    /// another version (T-006).
    fn parse_result(&self, stdout: &[u8]) -> Result<PluginResult, CniError> {
        let version = self.network.cni_version;
        let result = PluginResult::parse(stdout, version).map_err(|error| {
            let error = CniError::from(error);
            if error.details.is_empty() && !stdout.is_empty() {
                error.with_details(format!("stdout: {:?}", answer::quote_start(stdout)))
            } else {
                error
            }
        })?;
        Ok(result.to_version(version)?)
    }

    /// Logs a run of the plugin. The call logs the error.
    fn log_run(&self, duration: Duration, error: Option<&PluginError>) {
        let outcome = match error {
            None => "succeeded",
            Some(PluginError::NotStarted(_)) => "not started",
            Some(PluginError::Killed(_)) => "killed",
            Some(PluginError::UnknownContainer(_) | PluginError::Failed(_)) => "failed",
        };
        tracing::debug!(
            verb = %self.verb,
            plugin = self.kind(),
            network = self.network.name,
            interface = self.attachment.map(|attachment| attachment.ifname.as_str()),
            ms = duration.as_millis(),
            outcome,
            "plugin run"
        );
    }

    /// Logs the end of stderr, one event for each line.
    fn log_stderr(&self, stderr: &[u8]) {
        let (lines, is_cut) = answer::last_lines(stderr);
        let omission = is_cut.then(|| "(earlier output is omitted)".to_owned());
        for line in omission.into_iter().chain(lines) {
            tracing::info!(
                network = self.network.name,
                verb = %self.verb,
                plugin = self.kind(),
                "stderr: {line}"
            );
        }
    }

    /// The error of an ADD. `others_ran` is whether earlier plugins of the network succeeded. If
    /// so, code 3 must not reach the runtime, since there is something to clean up (P-041).
    fn add_error(&self, error: PluginError, others_ran: bool) -> AddError {
        let ran = others_ran || !matches!(error, PluginError::NotStarted(_));
        let error = match error {
            PluginError::UnknownContainer(error) if others_ran => CniError {
                code: Code::PluginFailed as u32,
                ..error
            },
            error => error.into(),
        };
        AddError {
            error: self.name_plugin(error),
            ran,
        }
    }

    /// Adds the plugin's name to an error.
    pub(super) fn name_plugin(&self, error: CniError) -> CniError {
        let role = if self.ipam { "IPAM plugin" } else { "plugin" };
        error.context(format_args!("{role} {:?}", self.kind()))
    }
}
