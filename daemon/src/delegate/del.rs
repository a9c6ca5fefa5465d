//! DEL of the plugins of a network, and of the IPAM plugins that they run.

use plexus_api::cni::{PluginResult, Verb, Version};

use super::answer::PluginError;
use super::chain::Step;
use super::gone::is_gone;
use super::request::Payload;
use super::{DelError, Delegates, PluginCall};
use crate::model::Attachment;

/// The outcome of a successful DEL of one plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deletion {
    Done,
    /// There was nothing to delete. The plugin may have ended before it ran its IPAM plugin.
    AlreadyGone,
}

impl Delegates {
    /// DEL: runs the plugins in reverse order until the first error, with the result of ADD
    /// from version 0.4.0 on. An attachment that its plugin reports as gone counts as
    /// deleted (decision 13).
    pub(crate) async fn del(
        &self,
        call: &PluginCall,
        attachment: &Attachment,
        previous: Option<&PluginResult>,
    ) -> Result<(), DelError> {
        let network = &attachment.config;
        let previous = previous
            .filter(|_| network.cni_version >= Version::V0_4_0)
            .and_then(|previous| {
                previous
                    .to_version(network.cni_version)
                    .inspect_err(|error| {
                        tracing::warn!(
                            network = network.name,
                            %error,
                            "cannot convert the result of ADD; running DEL without prevResult"
                        );
                    })
                    .ok()
            });
        let payload = Payload::Attachment {
            capability_args: &attachment.capability_args,
            previous: previous.as_ref(),
        };
        for plugin in network.plugins.iter().rev() {
            let step = Step::of_attachment(call, Verb::Del, attachment, plugin);
            let deletion = self.delete(step, payload).await?;
            // Without a namespace, host-device succeeds before it runs its IPAM plugin.
            let without_netns = attachment.has_definition() && call.netns.is_none();
            if deletion == Deletion::AlreadyGone || without_netns {
                self.delete_ipam(step, payload).await?;
            }
        }
        Ok(())
    }

    /// DEL of the IPAM plugins of an attachment, without the plugins that run them. Continues after
    /// errors, and returns the first one.
    pub(crate) async fn del_ipam(
        &self,
        call: &PluginCall,
        attachment: &Attachment,
    ) -> Result<(), DelError> {
        let payload = Payload::Attachment {
            capability_args: &attachment.capability_args,
            previous: None,
        };
        let mut outcome = Ok(());
        for plugin in attachment.config.plugins.iter().rev() {
            let step = Step::of_attachment(call, Verb::Del, attachment, plugin);
            outcome = outcome.and(self.delete_ipam(step, payload).await);
        }
        outcome
    }

    /// DEL of one plugin.
    async fn delete(&self, step: Step<'_>, payload: Payload<'_>) -> Result<Deletion, DelError> {
        let not_started = |error| DelError {
            error,
            ran: false,
            refused: false,
        };
        let program = self.find_step(step).await.map_err(not_started)?;
        let dirs = self.dirs(step.call);
        match self
            .execute(step, payload, &dirs, &program, |_| Ok(()))
            .await
        {
            Ok(()) => Ok(Deletion::Done),
            Err(error) if is_gone(&error, step.call.netns.as_deref()) => {
                let error = step.name_plugin(error.into());
                tracing::info!(
                    network = step.network.name,
                    "DEL counts as done, because the attachment is gone: {error}"
                );
                Ok(Deletion::AlreadyGone)
            }
            Err(error) => Err(DelError {
                ran: !matches!(error, PluginError::NotStarted(_)),
                refused: matches!(error, PluginError::Failed(_)),
                error: step.name_plugin(error.into()),
            }),
        }
    }

    /// DEL of the IPAM plugin of a plugin, with the input that the plugin would pass on.
    async fn delete_ipam(&self, step: Step<'_>, payload: Payload<'_>) -> Result<(), DelError> {
        if step.plugin.ipam_type().is_some() {
            self.delete(step.ipam(), payload).await?;
        }
        Ok(())
    }
}
