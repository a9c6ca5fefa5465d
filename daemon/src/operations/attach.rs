//! The ADD of one recorded attachment: plugins, device information, result.

use plexus_api::cni::{CniError, Code, PluginResult};
use plexus_api::json::{MAX_RESULT, MAX_RESULT_VALUES, count_values};
use plexus_api::quote;

use crate::call_limits::Resource;
use crate::context::Context;
use crate::delegate::{AddError, PluginCall};
use crate::device_info::{self, DeviceInfoError};
use crate::ledger::{ContainerLock, LedgerError, Line, Record};
use crate::model::Attachment;
use crate::netns::Netns;
use crate::plan;
use crate::report::events::EventReason;

/// What the ADD of an attachment needs.
pub(super) struct Attach<'a> {
    pub(super) context: &'a Context,
    pub(super) call: &'a PluginCall,
    pub(super) netns: &'a mut Netns,
    pub(super) lock: &'a ContainerLock,
    pub(super) record: &'a mut Record,
}

impl Attach<'_> {
    /// Runs the plugins of the attachment at `index` of the plan, and records each step. After an
    /// error, the record says whether the attachment needs a DEL.
    ///
    /// # Errors
    /// The error of a plugin or of the ledger, with network and interface.
    pub(super) async fn run(mut self, index: usize) -> Result<PluginResult, CniError> {
        let attachment = self.record.planned.attachments[index].clone();
        let label = attachment.label();
        let added = self.add(index, &attachment).await;
        added.map_err(|error| error.context(label))
    }

    async fn add(
        &mut self,
        index: usize,
        attachment: &Attachment,
    ) -> Result<PluginResult, CniError> {
        // An earlier plugin may have created a link of this name, which is not ours to delete
        // (P-080).
        if self.netns.has_link(&attachment.ifname).await? {
            let msg = "the sandbox already has a link of this name";
            return Err(CniError::new(Code::InterfaceTaken, msg));
        }
        self.append(Line::Started { index })?;
        self.prepare_device_info(attachment).await?;
        let delegates = &self.context.node.delegates;
        let result = match delegates.add(self.call, attachment).await {
            Ok(result) => result,
            Err(AddError { error, ran }) => {
                if !ran {
                    // DEL would keep failing for the same reason.
                    self.append(Line::Deleted { index })?;
                }
                return Err(hint_at_resource(error, attachment));
            }
        };
        self.append(Line::Added {
            index,
            result: result.raw().to_owned(),
        })?;
        self.check_results()?;
        self.record_device_info(index, attachment).await?;
        Ok(result)
    }

    /// Checks the limits of all results of the pod in sum.
    fn check_results(&self) -> Result<(), CniError> {
        let states = self.record.attachments.iter();
        let results = states.filter_map(|state| state.added.as_ref());
        let (mut bytes, mut values) = (0, 0);
        for result in results {
            bytes += result.get().len();
            values += count_values(result.get().as_bytes());
        }
        let limit = if bytes > MAX_RESULT {
            format!("{MAX_RESULT} bytes")
        } else if values > MAX_RESULT_VALUES {
            format!("{MAX_RESULT_VALUES} values")
        } else {
            return Ok(());
        };
        let msg = format!("the results of the pod's networks have more than {limit} in sum");
        Err(CniError::new(Code::Decode, msg))
    }

    fn append(&mut self, line: Line) -> Result<(), LedgerError> {
        self.lock.append(self.record, line)
    }

    /// Hands the document of the device to the plugins. A document that cannot be used is only
    /// reported: plugins work without it (D-005).
    async fn prepare_device_info(&self, attachment: &Attachment) -> Result<(), CniError> {
        let prepared = device_info::prepare(&self.call.host, attachment);
        if let Err(error) = self.call.limits.wait(prepared, device_info_files).await? {
            self.report_device_info(attachment, "is not passed to the plugins", &error);
        }
        Ok(())
    }

    /// Records the document that the plugins have left, for network-status. An invalid document is
    /// only reported (D-017).
    async fn record_device_info(
        &mut self,
        index: usize,
        attachment: &Attachment,
    ) -> Result<(), CniError> {
        let Some(file) = &attachment.device_info_file else {
            return Ok(());
        };
        let states = self.record.attachments.iter();
        let recorded = states.filter_map(|state| state.device_info.as_ref());
        let used = recorded.map(|document| document.get().len()).sum();
        let read = device_info::read(&self.call.host, file, used);
        match self.call.limits.wait(read, device_info_files).await? {
            Ok(None) => {}
            Ok(Some(document)) => self.append(Line::DeviceInfo { index, document })?,
            Err(error) => self.report_device_info(attachment, "is not published", &error),
        }
        Ok(())
    }

    fn report_device_info(
        &self,
        attachment: &Attachment,
        consequence: &str,
        error: &DeviceInfoError,
    ) {
        let label = attachment.label();
        let text = format!("{label}: its device information {consequence}: {error}");
        let pod = &self.record.planned.pod;
        self.context
            .reporter
            .event(pod, EventReason::DeviceInfoInvalid, text);
    }
}

/// Mentions the resource of the definition, if the plugins got no device of it: a plugin that needs
/// the device cannot know why it is missing.
fn hint_at_resource(mut error: CniError, attachment: &Attachment) -> CniError {
    if let Some(resource) = &attachment.resource_name
        && !plan::names_device(&attachment.config)
    {
        error.msg = format!(
            "{}; the definition names the resource {}, of which this node has no devices",
            error.msg,
            quote(resource)
        );
    }
    error
}

fn device_info_files() -> Resource {
    Resource::new("the device-info files")
}
