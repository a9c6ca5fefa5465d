//! CHECK: compares each attachment of the sandbox with the state after its ADD.

use std::collections::BTreeSet;
use std::path::Path;

use plexus_api::cni::{CniError, Code, PluginResult};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::adopt::record_from_multus;
use super::request::CniRequest;
use crate::config::CheckPlugins;
use crate::context::Context;
use crate::delegate::{Priority, wants_check};
use crate::ledger::{Planned, Record, RecordKey};
use crate::model::{Attachment, DefaultRoutes};
use crate::netns::{Family, Netns};
use crate::telemetry;

/// Checks the links of each attachment, and runs CHECK of the plugins that `checkPlugins` selects.
/// Changes nothing (P-095, P-096, P-097).
pub(super) async fn check(context: &Context, request: &CniRequest) -> Result<(), CniError> {
    try_check(context, request)
        .await
        .map_err(|error| error.context(request.subject()))
}

async fn try_check(context: &Context, request: &CniRequest) -> Result<(), CniError> {
    let env = &request.env;
    let key = RecordKey::new(&env.container_id, &env.ifname);
    let deadline = Instant::now() + request.settings.add_timeout;
    let _memory = context.reserve_record(&key, deadline).await?;
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
    let links = netns.names().await?;
    let _permit = context.node.delegates.permit(Priority::Add).await;
    let call = request.plugin_call(request.settings.add_timeout, CancellationToken::new());
    for (index, attachment) in record.planned.attachments.iter().enumerate() {
        if !wants_check(&attachment.config) {
            continue;
        }
        let checked = async {
            let previous = record.result_for_check(index)?;
            check_links(&record, &links, &previous)?;
            if runs_plugins(request.settings.check_plugins, attachment) {
                let delegates = &context.node.delegates;
                delegates.check(&call, attachment, &previous).await?;
            }
            Ok(())
        };
        checked
            .await
            .map_err(|error: CniError| error.context(attachment.label()))?;
    }
    check_default_routes(&mut netns, &record.planned).await
}

/// Whether CHECK runs the plugins of this attachment (decision 28).
fn runs_plugins(check_plugins: CheckPlugins, attachment: &Attachment) -> bool {
    match check_plugins {
        CheckPlugins::Default => attachment.default,
        CheckPlugins::All => true,
        CheckPlugins::None => false,
    }
}

/// Checks that the links of this result still exist. `links` are the names of all links in the
/// sandbox. Their hardware addresses may differ: a bond in the pod changes those of its ports.
fn check_links(
    record: &Record,
    links: &BTreeSet<String>,
    result: &PluginResult,
) -> Result<(), CniError> {
    // Without the line, nothing says which interfaces ever were links.
    let Some(expected) = &record.links else {
        return Ok(());
    };
    let interfaces = &result.result().interfaces;
    let missing = interfaces.iter().find(|interface| {
        !interface.sandbox.is_empty()
            && expected.contains(&interface.name)
            && !links.contains(&interface.name)
    });
    match missing {
        None => Ok(()),
        Some(interface) => Err(CniError::new(
            Code::CheckFailed,
            format!("link {:?} is missing in the sandbox", interface.name),
        )),
    }
}

/// Checks that the default routes that ADD moved still belong to their owners.
async fn check_default_routes(netns: &mut Netns, planned: &Planned) -> Result<(), CniError> {
    let DefaultRoutes { v4, v6 } = planned.default_routes;
    for (family, owner) in [(Family::V4, v4), (Family::V6, v6)] {
        let Some(owner) = owner.filter(|owner| owner.gateway.is_some()) else {
            continue;
        };
        let Some(attachment) = planned
            .attachments
            .get(owner.attachment)
            .filter(|attachment| wants_check(&attachment.config))
        else {
            continue;
        };
        if !netns.owns_default(family, &attachment.ifname).await? {
            let msg = format!("the {family} default route no longer uses this interface");
            return Err(CniError::new(Code::CheckFailed, msg).context(attachment.label()));
        }
    }
    Ok(())
}
