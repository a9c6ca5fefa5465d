//! The part of an ADD that follows the recorded plan: plugins, default routes, network-status,
//! result.

use std::time::Duration;

use plexus_api::cni::{CniError, CniResult, Code, PluginResult, Version};
use serde_json::value::RawValue;

use super::caller_gone;
use crate::call_limits::Resource;
use crate::config::Settings;
use crate::context::Context;
use crate::delegate::{AttachGuard, PluginCall};
use crate::ledger::{AddLock, Line, Record};
use crate::netns::Netns;
use crate::operations::attach::Attach;
use crate::operations::network_status::{
    pod_sandbox, record_when_written, render_recorded, status_content,
};
use crate::operations::request::CniRequest;
use crate::operations::routes;
use crate::report::StatusWriteError;
use crate::report::events::EventReason;

/// An ADD with a recorded plan.
pub(super) struct Attaching<'a> {
    pub(super) context: &'a Context,
    pub(super) request: &'a CniRequest,
    pub(super) call: PluginCall,
    pub(super) netns: Netns,
    pub(super) lock: &'a AddLock,
    pub(super) record: Record,
    /// The results of the attachments so far, in the order of the plan.
    pub(super) results: Vec<PluginResult>,
    /// The guard under which plugins run. `None` once all have run.
    pub(super) guard: Option<AttachGuard>,
}

impl Attaching<'_> {
    pub(super) async fn run(&mut self) -> Result<Box<RawValue>, CniError> {
        for index in 0..self.record.planned.attachments.len() {
            self.attach(index).await?;
        }
        self.move_default_routes().await?;
        self.record_links().await?;
        let result = self.result_for_runtime()?;
        self.report_result();
        self.write_network_status().await?;
        self.lock.append(&mut self.record, Line::Completed)?;
        // A runtime that is gone sends no DEL, so the ADD is undone (decision 15).
        if self.call.limits.cancel.is_cancelled() {
            return Err(caller_gone());
        }
        let planned = &self.record.planned;
        let attached_pods = &self.context.attached_pods;
        attached_pods.add(&planned.pod.namespace, &planned.pod.name);
        for (attachment, result) in planned.attachments.iter().zip(&self.results) {
            let reporter = &self.context.reporter;
            reporter.added_interface(&planned.pod, attachment, result);
        }
        Ok(result)
    }

    async fn attach(&mut self, index: usize) -> Result<(), CniError> {
        if self.call.limits.cancel.is_cancelled() {
            let label = self.record.planned.attachments[index].label();
            return Err(caller_gone().context(label));
        }
        let attach = Attach {
            context: self.context,
            call: &self.call,
            netns: &mut self.netns,
            lock: self.lock,
            record: &mut self.record,
        };
        self.results.push(attach.run(index).await?);
        Ok(())
    }

    fn record_result(&mut self, index: usize, result: &PluginResult) -> Result<(), CniError> {
        let result = result.raw().to_owned();
        Ok(self
            .lock
            .append(&mut self.record, Line::Added { index, result })?)
    }

    /// Moves the default routes in the sandbox and in the results, so that the runtime's result,
    /// the ledger and network-status match the kernel (K-042).
    async fn move_default_routes(&mut self) -> Result<(), CniError> {
        let planned = &self.record.planned;
        let changed = routes::move_default_routes(
            &mut self.netns,
            &planned.attachments,
            planned.default_routes,
            &self.request.settings.cluster_routes,
            &mut self.results,
        )
        .await?;
        for index in changed {
            let result = self.results[index].clone();
            self.record_result(index, &result)?;
        }
        Ok(())
    }

    /// Records which interfaces of the results are links of the sandbox, so that CHECK looks for no
    /// others (decision 28).
    async fn record_links(&mut self) -> Result<(), CniError> {
        let links = self.netns.names().await?;
        let names = self
            .results
            .iter()
            .flat_map(|result| &result.result().interfaces)
            .filter(|interface| !interface.sandbox.is_empty() && links.contains(&interface.name))
            .map(|interface| interface.name.clone())
            .collect();
        Ok(self.lock.append(&mut self.record, Line::Links { names })?)
    }

    /// The default network's result, in the latest version for the shim to convert. A result that
    /// the runtime's version cannot express fails the ADD while it can still be undone.
    fn result_for_runtime(&self) -> Result<Box<RawValue>, CniError> {
        let default = self
            .results
            .first()
            .ok_or_else(|| CniError::new(Code::Internal, "the plan has no network"))?;
        default.to_version(self.request.version)?;
        Ok(default.to_version(Version::LATEST)?.raw().to_owned())
    }

    /// Reports what containerd does not accept in the default network's result, or hides.
    fn report_result(&self) {
        let (planned, Some(result)) = (&self.record.planned, self.results.first()) else {
            return;
        };
        let (result, ifname) = (result.result(), &planned.ifname);
        let label = planned.attachments[0].label();
        if lacks_address(result, ifname) {
            let text =
                format!("{label}: no address is assigned; containerd does not start the pod");
            let reporter = &self.context.reporter;
            reporter.event(&planned.pod, EventReason::AddressMissing, text);
        }
        if has_namesake_on_node(result, ifname) {
            tracing::warn!(pod = %planned.pod, "{label}: the result has an interface of the node with the same name, and containerd keeps only one of them");
        }
    }

    /// Starts the write of network-status, and waits for at most `statusWait`. A write that takes
    /// longer continues in the background (decision 19).
    async fn write_network_status(&mut self) -> Result<(), CniError> {
        // The plugins have run, so the next call need not wait for the API server.
        self.guard = None;
        let Settings {
            status_required,
            status_wait,
            ..
        } = self.request.settings;
        let (reporter, ledger) = (&self.context.reporter, &self.context.ledger);
        let planned = &self.record.planned;
        let is_overdue = reporter.is_overdue() && !status_required;
        let limit = if is_overdue {
            Duration::ZERO
        } else {
            status_wait
        };
        let mut write = reporter
            .write_network_status(
                pod_sandbox(planned),
                &status_content(&self.record, self.results.iter().enumerate()),
                render_recorded(self.context, planned),
                status_wait,
                || ledger.is_newest(planned, &self.context.node.boot_id),
            )
            .await;
        let limits = &self.call.limits;
        let done = write.done_within(limit.min(limits.remaining()), status_required);
        let done = limits.wait(done, || Resource::new("network-status to be written"));
        match done.await? {
            Ok(()) => Ok(self.lock.append(&mut self.record, Line::StatusWritten)?),
            Err(error) if status_required && error != StatusWriteError::NoMirror => {
                let msg =
                    format!("network-status cannot be written, and statusRequired is set: {error}");
                Err(CniError::new(Code::TryAgain, msg))
            }
            Err(error) => {
                if is_overdue {
                    tracing::debug!(pod = %planned.pod, "network-status is written later, because earlier writes are overdue");
                } else {
                    tracing::warn!(pod = %planned.pod, %error, "network-status is not written yet; the write is retried");
                }
                record_when_written(self.context, planned, write);
                Ok(())
            }
        }
    }
}

/// Whether no address belongs to the runtime's interface. containerd counts addresses without an
/// interface, and refuses a pod without an address (C-07).
fn lacks_address(result: &CniResult, ifname: &str) -> bool {
    let is_ours = |index: usize| {
        let interface = result.interfaces.get(index);
        interface.is_some_and(|interface| interface.name == ifname)
    };
    !result.ips.iter().any(|ip| ip.interface.is_none_or(is_ours))
}

/// Whether an interface of the node has the name of the runtime's interface. containerd keeps one
/// interface of each name (C-08).
fn has_namesake_on_node(result: &CniResult, ifname: &str) -> bool {
    let named = result.interfaces.iter();
    let named = named.filter(|interface| interface.name == ifname);
    let on_node: Vec<_> = named
        .map(|interface| interface.sandbox.is_empty())
        .collect();
    on_node.contains(&true) && on_node.contains(&false)
}
