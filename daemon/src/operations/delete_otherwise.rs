//! Other ways to delete an attachment whose plugin refuses its recorded configuration, as after a
//! mistake in a definition.

use std::sync::Arc;

use plexus_api::cni::{CniError, NetworkConfig};

use crate::context::Context;
use crate::delegate::{DelError, PluginCall};
use crate::gather;
use crate::model::{Attachment, PodRef};
use crate::plan::plan;

/// The outcome of [`delete_otherwise`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// The DEL with the current definition has succeeded.
    Deleted,
    /// Retries cannot change the failures.
    Refused,
    /// A plugin was killed, or the recorded IPAM plugin is missing.
    Unfinished,
}

/// Runs DEL with the current configuration of the definition, if it has changed, and DEL of the
/// recorded IPAM plugins alone.
///
/// For attachments whose ADD never succeeded and whose sandbox is gone (decision 31).
pub(super) async fn delete_otherwise(
    context: &Context,
    call: &PluginCall,
    pod: &PodRef,
    attachment: &Attachment,
) -> Otherwise {
    let delegates = &context.node.delegates;
    let mut otherwise = Otherwise::Refused;
    let mut failed = |failed: &DelError, with: &str, is_required: bool| {
        log(attachment, with, &failed.error);
        if !failed.refused && (failed.ran || is_required) {
            otherwise = Otherwise::Unfinished;
        }
    };
    let mut is_deleted = false;
    if let Some(current) = with_current_definition(context, pod, attachment).await {
        match delegates.del(call, &current, None).await {
            Ok(()) => is_deleted = true,
            Err(error) => failed(&error, "the current definition", false),
        }
    }
    if let Err(error) = delegates.del_ipam(call, attachment).await {
        // The IPAM plugin of the node's own network may be a part of its plugin.
        let is_required = attachment.has_definition();
        failed(&error, "the IPAM plugin alone", is_required);
    }
    if is_deleted {
        Otherwise::Deleted
    } else {
        otherwise
    }
}

/// The attachment with the current configuration of its definition. Returns `None` if the
/// configuration is the recorded one, or if the pod may not use the definition any more.
async fn with_current_definition(
    context: &Context,
    pod: &PodRef,
    attachment: &Attachment,
) -> Option<Attachment> {
    let node = &context.node;
    let input = gather::current_definition(&node.store, &node.settings, pod, attachment).await?;
    let mut config = plan(&input).ok()?.attachments.pop()?.config;
    let plugins = &mut Arc::make_mut(&mut config).plugins;
    for (plugin, recorded) in plugins.iter_mut().zip(&attachment.config.plugins) {
        // The pod may have added to these.
        if let Some(args) = recorded.raw("args") {
            plugin.set("args", args).ok()?;
        }
    }
    let text = |config: &NetworkConfig| serde_json::to_string(config).ok();
    (text(&config) != text(&attachment.config)).then(|| Attachment {
        config,
        ..attachment.clone()
    })
}

fn log(attachment: &Attachment, with: &str, error: &CniError) {
    let network = &attachment.network;
    tracing::debug!(network, %error, "DEL with {with} failed as well");
}
