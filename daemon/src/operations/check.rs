//! CHECK: compares each attachment of the sandbox with the state after its ADD.

use std::path::Path;

use plexus_api::cni::{CniError, Code, PluginResult};
use tokio_util::sync::CancellationToken;

use super::adopt::record_from_multus;
use super::request::CniRequest;
use crate::context::Context;
use crate::delegate::Priority;
use crate::ledger::{Planned, Record};
use crate::model::DefaultRoutes;
use crate::netns::{Family, Netns};
use crate::telemetry;

/// Checks the links of each attachment, then runs CHECK of its plugins. Changes nothing (P-095,
/// P-096, P-097).
pub(super) async fn check(context: &Context, request: &CniRequest) -> Result<(), CniError> {
    try_check(context, request)
        .await
        .map_err(|error| error.context(request.subject()))
}

async fn try_check(context: &Context, request: &CniRequest) -> Result<(), CniError> {
    let env = &request.env;
    let lock = context.ledger.lock_container(&env.container_id).await;
    let record = match lock.load(&env.ifname)? {
        None => record_from_multus(context, request)
            .await
            .map(|(record, _)| record),
        record => record,
    };
    let Some(record) = record.filter(Record::is_attached) else {
        let msg = format!(
            "interface {:?} of this container is not attached",
            env.ifname
        );
        return Err(CniError::new(Code::CheckFailed, msg));
    };
    telemetry::CallSpan::record_networks(&record.planned.networks());
    let mut netns = Netns::open(
        Path::new(env.netns.as_deref().unwrap_or_default()),
        &request.host,
    )
    .await?;
    let _permit = context.node.delegates.permit(Priority::Add).await;
    let call = request.plugin_call(request.settings.add_timeout, CancellationToken::new());
    for (index, attachment) in record.planned.attachments.iter().enumerate() {
        if attachment.config.disable_check {
            continue;
        }
        let checked = async {
            let previous = record.result_for_check(index)?;
            check_links(&mut netns, &previous).await?;
            context
                .node
                .delegates
                .check(&call, attachment, &previous)
                .await
        };
        checked
            .await
            .map_err(|error| error.context(attachment.label()))?;
    }
    check_default_routes(&mut netns, &record.planned).await
}

/// Checks that the links exist. Their hardware addresses may differ: a bond in the pod changes
/// those of its ports.
async fn check_links(netns: &mut Netns, result: &PluginResult) -> Result<(), CniError> {
    for interface in result
        .result()
        .interfaces
        .iter()
        .filter(|interface| !interface.sandbox.is_empty())
    {
        if !netns.has_link(&interface.name).await? {
            return Err(CniError::new(
                Code::CheckFailed,
                format!("link {:?} is missing in the sandbox", interface.name),
            ));
        }
    }
    Ok(())
}

/// Checks that the default routes that ADD moved still belong to their owners.
async fn check_default_routes(netns: &mut Netns, planned: &Planned) -> Result<(), CniError> {
    let DefaultRoutes { v4, v6 } = planned.default_routes;
    for (family, owner) in [(Family::V4, v4), (Family::V6, v6)] {
        let Some(owner) = owner.filter(|owner| owner.gateway.is_some()) else {
            continue;
        };
        let Some(attachment) = planned.attachments.get(owner.attachment) else {
            continue;
        };
        if !netns.owns_default(family, &attachment.ifname).await? {
            let msg = format!("the {family} default route no longer uses this interface");
            return Err(CniError::new(Code::CheckFailed, msg).context(attachment.label()));
        }
    }
    Ok(())
}
