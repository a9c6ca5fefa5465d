//! CHECK: compares each attachment of the sandbox with the state after its ADD.

use std::collections::BTreeSet;
use std::path::Path;

use plexus_api::cni::{CniEnv, CniError, Code, PluginResult};
use tokio_util::sync::CancellationToken;

use super::adopt::record_from_multus;
use super::record_lock::{RecordMemory, lock_for_record, lock_with_guard};
use super::request::CniRequest;
use crate::call_limits::{CallLimits, Resource};
use crate::config::CheckPlugins;
use crate::context::Context;
use crate::delegate::{AttachGuard, GuardScope, Priority, wants_check};
use crate::ledger::{ContainerLock, LedgerError, Planned, Record, RecordKey};
use crate::model::{Attachment, DefaultRoutes};
use crate::netns::{Family, Netns};
use crate::telemetry;

/// Checks the links of each attachment, and runs CHECK of the plugins that `checkPlugins` selects.
/// Changes nothing (P-095, P-096, P-097). Stops waiting when `cancel` is cancelled; a CHECK that
/// runs plugins runs to its end (decision 15).
pub(super) async fn check(
    context: &Context,
    request: &CniRequest,
    cancel: CancellationToken,
) -> Result<(), CniError> {
    try_check(context, request, cancel)
        .await
        .map_err(|error| error.context(request.subject()))
}

async fn try_check(
    context: &Context,
    request: &CniRequest,
    cancel: CancellationToken,
) -> Result<(), CniError> {
    let limits = request.limits(cancel);
    let (record, _guards) = lock_record(context, request, &limits).await?;
    telemetry::CallSpan::record_networks(&record.planned.networks());
    let path = Path::new(request.env.netns.as_deref().unwrap_or_default());
    let mut netns = limits
        .wait(Netns::open(path, &request.host), || {
            Resource::new("the network namespace to be opened")
        })
        .await??;
    let links = netns.names().await?;
    let call = request.plugin_call(CallLimits {
        cancel: CancellationToken::new(),
        ..limits
    });
    let unfinished = record.unfinished_changes();
    for (index, attachment) in record.current() {
        // An attachment that comes or goes while the pod runs is no part of the sandbox yet, or no
        // longer.
        if !wants_check(&attachment.config) || unfinished.contains(&index) {
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

/// Whether CHECK runs the plugins of this attachment (decision 28). A network with which a pod
/// replaces its default network is not what the runtime would check without Plexus.
fn runs_plugins(check_plugins: CheckPlugins, attachment: &Attachment) -> bool {
    match check_plugins {
        CheckPlugins::Default => attachment.default && !attachment.selected,
        CheckPlugins::All => true,
        CheckPlugins::None => false,
    }
}

/// Checks that the links of this result still exist. `links` are the names of all links in the
/// sandbox. Their hardware addresses may differ: a bond in the pod changes those of its ports.
pub(super) fn check_links(
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

/// The record of an attached sandbox, with the locks under which it is checked. They depend on the
/// record, which is therefore read before and after the wait.
async fn lock_record(
    context: &Context,
    request: &CniRequest,
    limits: &CallLimits,
) -> Result<(Record, (ContainerLock, AttachGuard, RecordMemory)), CniError> {
    let CniEnv {
        container_id,
        ifname,
        ..
    } = &request.env;
    let key = RecordKey::new(container_id, ifname);
    let not_attached = || {
        let msg = format!("interface {ifname:?} of this container is not attached");
        CniError::new(Code::CheckFailed, msg)
    };
    // A call in flight may be about to write the record, or to remove it.
    let (lock, memory) = lock_for_record(context, &key, limits).await?;
    let found = find_record(context, request, &lock).await?;
    drop(lock);
    let found = found.ok_or_else(not_attached)?;
    let scope = GuardScope::new(&found.planned.pod, &found.planned.attachments);
    let created = found.planned.created_boottime_ns;
    drop((found, memory));
    let guards = lock_with_guard(context, Priority::Add, &key, &scope, limits).await?;
    let record = find_record(context, request, &guards.0).await?;
    let record = record.ok_or_else(not_attached)?;
    if record.planned.created_boottime_ns != created {
        let msg = "the sandbox was attached again during this CHECK; retry later";
        return Err(CniError::new(Code::TryAgain, msg));
    }
    Ok((record, guards))
}

async fn find_record(
    context: &Context,
    request: &CniRequest,
    lock: &ContainerLock,
) -> Result<Option<Record>, LedgerError> {
    let record = match lock.load(&request.env.ifname)? {
        None => record_from_multus(context, request)
            .await
            .map(|(record, _)| record),
        record => record,
    };
    Ok(record.filter(Record::is_attached))
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
