//! The order of the plugins of a network, verb by verb.

use std::path::{Path, PathBuf};

use plexus_api::cni::{
    CniError, Code, NetworkConfig, PluginConfig, PluginResult, ResultError, Verb, Version,
};
use tokio::time::Instant;

use super::exec::Exec;
use super::request::{Payload, environment, stdin};
use super::{AddError, Delegates, PluginCall, ValidAttachment, answer, lookup};
use crate::model::Attachment;

impl Delegates {
    /// The programs of a network's plugins, in order. Runs none of them.
    ///
    /// # Errors
    /// [`Code::PluginMissing`] for the first that is not there or may not be executed.
    pub(crate) async fn find(
        &self,
        call: &PluginCall,
        network: &NetworkConfig,
    ) -> Result<Vec<PathBuf>, CniError> {
        find(
            call,
            network.plugins.iter().map(PluginConfig::kind).collect(),
            self.dirs(call),
        )
        .await
    }

    /// ADD: in order, each with the result of the one before; the result of the last is the network's, in the network's
    /// version (R-060, T-006).
    ///
    /// # Errors
    /// The first plugin's that fails. What has run is for the caller to undo.
    pub(crate) async fn add(
        &self,
        call: &PluginCall,
        attachment: &Attachment,
    ) -> Result<PluginResult, AddError> {
        let network = &attachment.config;
        let nothing_ran = |error| AddError { error, ran: false };
        let programs = self.find(call, network).await.map_err(nothing_ran)?;
        let dirs = self.dirs(call);
        let mut previous = None;
        for (plugin, program) in network.plugins.iter().zip(programs) {
            let step = Step {
                call,
                verb: Verb::Add,
                network,
                attachment: Some(attachment),
                plugin,
            };
            let payload = Payload::Attachment {
                capability_args: &attachment.capability_args,
                previous: previous.as_ref(),
            };
            let result = self
                .execute(step, payload, &dirs, &program, |stdout| {
                    step.result(&stdout)
                })
                .await;
            previous = Some(match result {
                Err(failed) if previous.is_some() => return Err(failed.after_others()),
                result => result?,
            });
        }
        previous.ok_or_else(|| nothing_ran(CniError::new(Code::InvalidConfig, "it has no plugin")))
    }

    /// DEL: in reverse order, each with the result of ADD, from version 0.4.0 on; the first error ends it.
    ///
    /// # Errors
    /// That error.
    pub(crate) async fn del(
        &self,
        call: &PluginCall,
        attachment: &Attachment,
        previous: Option<&PluginResult>,
    ) -> Result<(), CniError> {
        let network = &attachment.config;
        let previous = previous.filter(|_| network.cni_version >= Version::V0_4_0).and_then(|previous| {
            let converted = previous.to_version(network.cni_version);
            let warn =
                |error: &ResultError| tracing::warn!(network = network.name, %error, "DEL goes on without prevResult");
            converted.inspect_err(warn).ok()
        });
        let payload = Payload::Attachment {
            capability_args: &attachment.capability_args,
            previous: previous.as_ref(),
        };
        for plugin in network.plugins.iter().rev() {
            let step = Step {
                call,
                verb: Verb::Del,
                network,
                attachment: Some(attachment),
                plugin,
            };
            self.find_and_execute(step, payload).await?;
        }
        Ok(())
    }

    /// CHECK: in order, each with the result of ADD; the first error ends it. Success without a call where the
    /// network has `disableCheck`, or a version before 0.4.0.
    ///
    /// # Errors
    /// That error, or [`Code::IncompatibleVersion`] where the result cannot be had in the network's version.
    pub(crate) async fn check(
        &self,
        call: &PluginCall,
        attachment: &Attachment,
        previous: &PluginResult,
    ) -> Result<(), CniError> {
        let network = &attachment.config;
        if network.disable_check || network.cni_version < Verb::Check.since() {
            return Ok(());
        }
        let previous = previous.to_version(network.cni_version)?;
        let payload = Payload::Attachment {
            capability_args: &attachment.capability_args,
            previous: Some(&previous),
        };
        for plugin in &network.plugins {
            let step = Step {
                call,
                verb: Verb::Check,
                network,
                attachment: Some(attachment),
                plugin,
            };
            self.find_and_execute(step, payload).await?;
        }
        Ok(())
    }

    /// STATUS: in order; the first error ends it. Success without a call before version 1.1.0.
    ///
    /// # Errors
    /// That error.
    pub(crate) async fn status(
        &self,
        call: &PluginCall,
        network: &NetworkConfig,
    ) -> Result<(), CniError> {
        if network.cni_version < Verb::Status.since() {
            return Ok(());
        }
        for plugin in &network.plugins {
            let step = Step {
                call,
                verb: Verb::Status,
                network,
                attachment: None,
                plugin,
            };
            self.find_and_execute(step, Payload::Status).await?;
        }
        Ok(())
    }

    /// GC: in order, whatever fails; `valid` is all that is to be kept. Success without a call where the network
    /// has `disableGC`, or a version before 1.1.0.
    ///
    /// # Errors
    /// Those of all plugins that failed, in order.
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
            let step = Step {
                call,
                verb: Verb::Gc,
                network,
                attachment: None,
                plugin,
            };
            errors.extend(self.find_and_execute(step, Payload::Gc(valid)).await.err());
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    async fn find_and_execute(&self, step: Step<'_>, payload: Payload<'_>) -> Result<(), CniError> {
        let dirs = self.dirs(step.call);
        let program = find(step.call, vec![step.plugin.kind()], dirs.clone())
            .await?
            .remove(0);
        self.execute(step, payload, &dirs, &program, |_| Ok(()))
            .await
            .map_err(|failed| failed.error)
    }

    /// Runs one plugin; what `read` makes of its stdout, or the error.
    async fn execute<T>(
        &self,
        step: Step<'_>,
        payload: Payload<'_>,
        dirs: &[PathBuf],
        program: &Path,
        read: impl FnOnce(Vec<u8>) -> Result<T, CniError>,
    ) -> Result<T, AddError> {
        let Step {
            call,
            verb,
            network,
            attachment,
            plugin,
        } = step;
        let failed = |error, ran| AddError {
            error: step.name(error),
            ran,
        };
        let now = Instant::now();
        let deadline = now
            .checked_add(self.0.plugin_timeout)
            .map_or(call.deadline, |end| end.min(call.deadline));
        let mut env = environment(call, verb, attachment, plugin, dirs);
        env.insert(self.0.mark.0.to_owned(), self.0.mark.1.clone());
        let exec = Exec {
            program,
            env: &env,
            stdin: &stdin(network, plugin, payload).map_err(|error| failed(error, false))?,
            deadline,
            cancel: &call.cancel,
        };
        let ran = exec.run(&call.host).await;
        for line in ran
            .iter()
            .flat_map(|run| run.stderr.split(|byte| *byte == b'\n'))
            .filter(|line| !line.is_empty())
        {
            let line = String::from_utf8_lossy(line);
            tracing::info!(network = network.name, %verb, plugin = plugin.kind(), "stderr: {line}");
        }
        let limit = deadline.saturating_duration_since(now);
        let run = ran.map_err(|error| failed(answer::not_started(&error), false));
        let output =
            run.and_then(|run| answer::output(run, limit).map_err(|error| failed(error, true)));
        let outcome =
            output.and_then(|stdout| read(stdout).map_err(|error| AddError { error, ran: true }));
        self.0.metrics.plugin_ran(
            &plugin.kind(),
            verb.as_str(),
            now.elapsed(),
            outcome.is_ok(),
        );
        outcome
    }

    fn dirs(&self, call: &PluginCall) -> Vec<PathBuf> {
        lookup::search_path(&self.0.bin_dirs, &call.path)
    }
}

/// Whether GC calls any plugin of this network.
pub(crate) fn wants_gc(network: &NetworkConfig) -> bool {
    !network.disable_gc && network.cni_version >= Verb::Gc.since()
}

/// The programs of these types, one each.
async fn find(
    call: &PluginCall,
    kinds: Vec<String>,
    dirs: Vec<PathBuf>,
) -> Result<Vec<PathBuf>, CniError> {
    let find = move || kinds.iter().map(|kind| lookup::find(kind, &dirs)).collect();
    call.host
        .run(find)
        .await
        .unwrap_or_else(|error| Err(answer::not_started(&error)))
}

/// One plugin on one verb.
#[derive(Debug, Clone, Copy)]
struct Step<'a> {
    call: &'a PluginCall,
    verb: Verb,
    network: &'a NetworkConfig,
    /// Absent for STATUS and GC.
    attachment: Option<&'a Attachment>,
    plugin: &'a PluginConfig,
}

impl Step<'_> {
    /// What an ADD printed, in the network's version: the next plugin must not get another one (T-006).
    fn result(&self, stdout: &[u8]) -> Result<PluginResult, CniError> {
        let version = self.network.cni_version;
        let result = PluginResult::parse(stdout, version).map_err(|error| {
            let mut error = CniError::from(error);
            if error.details.is_empty() && !stdout.is_empty() {
                error.details = format!("it printed {:?}", answer::quote_start(stdout));
            }
            self.name(error)
        })?;
        result
            .to_version(version)
            .map_err(|error| self.name(error.into()))
    }

    fn name(&self, error: CniError) -> CniError {
        error.context(format_args!("plugin {:?}", self.plugin.kind()))
    }
}

impl AddError {
    /// The same after another plugin of the network has succeeded. Code 3 tells a runtime that it need not clean up,
    /// which is no longer so (P-041).
    fn after_others(mut self) -> Self {
        if self.error.is(Code::UnknownContainer) {
            self.error.code = Code::PluginFailed as u32;
        }
        Self { ran: true, ..self }
    }
}
