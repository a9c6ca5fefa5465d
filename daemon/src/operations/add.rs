//! ADD: gathers, plans, records the plan, attaches one network after the other, moves the default
//! routes, reports.

mod attaching;

use std::panic::AssertUnwindSafe;
use std::path::Path;

use futures_util::FutureExt;
use plexus_api::cni::{CniError, Code};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::request::CniRequest;
use super::undo::{UndoArgs, undo, undo_within};
use crate::call_limits::{CallLimits, Resource, WaitError};
use crate::clock::unix_ms;
use crate::context::Context;
use crate::delegate::{AttachGuard, GuardScope, PluginCall, Priority};
use crate::gather;
use crate::ledger::{AddLock, FORMAT, LedgerError, PLEXUSD, Planned, Record};
use crate::memory_budget::Reservation;
use crate::netns::Netns;
use crate::plan::{self, Warning};
use crate::report::events::EventReason;
use crate::telemetry::CallSpan;
use attaching::Attaching;

/// Attaches a sandbox to its networks. Returns the default network's result (decision 9). `cancel`
/// is cancelled when the caller is gone.
pub(super) async fn add(
    context: &Context,
    request: &CniRequest,
    cancel: CancellationToken,
) -> Result<Box<RawValue>, CniError> {
    try_add(context, request, cancel)
        .await
        .map_err(|error| error.context(request.subject()))
}

async fn try_add(
    context: &Context,
    request: &CniRequest,
    cancel: CancellationToken,
) -> Result<Box<RawValue>, CniError> {
    if request.config.raw("prevResult").is_some() {
        // The result would have to contain the interfaces of the plugins before this one (P-082).
        let msg = "the configuration has prevResult; Plexus must be the first plugin of its list";
        return Err(CniError::new(Code::InvalidConfig, msg));
    }
    let (container_id, ifname) = (&request.env.container_id, &request.env.ifname);
    let limits = request.limits(cancel);
    let lock = context
        .ledger
        .lock_for_add(container_id, ifname, &limits)
        .await?;
    let had_no_record = refuse_attached(&lock, ifname)?;
    let call = request.plugin_call(limits.clone());
    let prepared = prepare(context, request, &call).await.inspect_err(|_| {
        // The runtime's DEL has nothing to delete: a link of this name is not ours.
        if had_no_record {
            lock.remember_refused(ifname);
        }
    })?;
    let Prepared {
        netns,
        planned,
        reservation: _reservation,
    } = prepared;
    // A write that hangs continues, with the lock. The record then says that nothing was started.
    let record = timeout_at(limits.deadline, lock.plan(planned))
        .await
        .map_err(|_| WaitError::TimedOut(Resource::new("the disk of the ledger")))??;
    let scope = GuardScope::new(&record.planned.pod, &record.planned.attachments);
    let delegates = &context.node.delegates;
    let guard = match delegates.attach_guard(Priority::Add, &scope, &limits).await {
        Ok(guard) => guard,
        Err(error) => return Err(withdraw_plan(context, &lock, record, error)),
    };
    let mut attaching = Attaching {
        context,
        request,
        call,
        netns,
        lock: &lock,
        record,
        results: Vec::new(),
        guard: Some(guard),
    };
    match catch_panic(attaching.run()).await {
        Err(error) => {
            let Attaching {
                call,
                record,
                guard,
                ..
            } = attaching;
            Err(roll_back(context, request, call, &lock, record, guard, error).await)
        }
        result => result,
    }
}

/// Undoes a failed ADD, and returns the error for the runtime.
async fn roll_back(
    context: &Context,
    request: &CniRequest,
    call: PluginCall,
    lock: &AddLock,
    record: Record,
    guard: Option<AttachGuard>,
    error: CniError,
) -> CniError {
    if !call.limits.cancel.is_cancelled() {
        context.reporter.event(
            &record.planned.pod,
            EventReason::AttachFailed,
            format!("{error}; the runtime retries"),
        );
    }
    let nothing_added = record.attachments.iter().all(|state| state.added.is_none());
    let args = UndoArgs {
        host: call.host,
        netns: request.env.netns.clone(),
        path: call.path,
        env: call.env,
        sandbox_gone: false,
    };
    let limits = CallLimits::new(
        format!("rollback of {}", request.subject()),
        Instant::now(),
        request.settings.del_timeout,
        CancellationToken::new(),
    );
    let undone = match guard {
        Some(_guard) => undo(context, lock, record, args, limits.remaining()).await,
        None => undo_within(context, lock, record, args, &limits).await,
    };
    if let Err(failures) = &undone {
        tracing::warn!(pod = %request.pod, %failures, "the rollback is incomplete and is retried");
    }
    // With code 3, the runtime assumes that there is nothing to clean up (P-041, decision 24).
    if error.is(Code::UnknownContainer) && !(nothing_added && undone.is_ok()) {
        return CniError {
            code: Code::PluginFailed as u32,
            ..error
        };
    }
    error
}

/// Removes the record of an ADD that did not get to run a plugin. Returns the error for the
/// runtime.
fn withdraw_plan(context: &Context, lock: &AddLock, record: Record, error: WaitError) -> CniError {
    if let WaitError::TimedOut(_) = error {
        context.reporter.event(
            &record.planned.pod,
            EventReason::AttachFailed,
            format!("{error}; the runtime retries"),
        );
    }
    if let Err(error) = lock.remove(record) {
        tracing::error!(%error, "the record of an ADD that ran no plugin cannot be removed yet");
    }
    error.into()
}

/// The opened sandbox and its plan.
struct Prepared {
    netns: Netns,
    planned: Planned,
    /// The memory of the plan.
    reservation: Reservation,
}

/// Opens the sandbox, plans its attachments, and checks that all plugins are installed. Runs no
/// plugin. A refusal emits an event on the pod.
async fn prepare(
    context: &Context,
    request: &CniRequest,
    call: &PluginCall,
) -> Result<Prepared, CniError> {
    let path = Path::new(request.env.netns.as_deref().unwrap_or_default());
    let opened = || Resource::new("the network namespace to be opened");
    let mut netns = call
        .limits
        .wait(Netns::open(path, &request.host), opened)
        .await??;
    let planned = plan_attachments(context, request, call, &mut netns);
    let (planned, reservation) = call
        .limits
        .wait(planned, || Resource::new("the pod and its networks"))
        .await?
        .inspect_err(|error| emit_refusal(context, request, error))?;
    CallSpan::record_networks(&planned.networks());
    for attachment in &planned.attachments {
        context
            .node
            .delegates
            .check_installed(call, attachment)
            .await
            .map_err(|error| error.context(attachment.label()))
            .inspect_err(|error| emit_refusal(context, request, error))?;
    }
    Ok(Prepared {
        netns,
        planned,
        reservation,
    })
}

async fn plan_attachments(
    context: &Context,
    request: &CniRequest,
    call: &PluginCall,
    netns: &mut Netns,
) -> Result<(Planned, Reservation), CniError> {
    let links = netns.names().await?;
    let pod_request = request.pod_request()?;
    let node = &context.node;
    let sources = node.sources(&request.host);
    let gathered = gather::plan_input(sources, &request.settings, pod_request, links, &call.limits);
    let (input, reservation) = gathered.await?;
    let plan = plan::plan(&input)?;
    for Warning { kind, text } in plan.warnings {
        context.reporter.event(&input.pod, kind.into(), text);
    }
    let planned = Planned {
        format: FORMAT,
        plexusd: PLEXUSD.to_owned(),
        container_id: request.env.container_id.clone(),
        ifname: request.env.ifname.clone(),
        netns: request.env.netns.clone().unwrap_or_default(),
        netns_id: Some(netns.id()),
        boot_id: node.boot_id.clone(),
        created_unix_ms: unix_ms(),
        created_boottime_ns: request.arrived_boottime_ns,
        pod: input.pod,
        cni_path: request.env.path.clone(),
        executable_path: request.plugin_env.get("PATH").cloned(),
        attachments: plan.attachments,
        default_routes: plan.default_routes,
        revision: 0,
    };
    Ok((planned, reservation))
}

/// Emits an event with the reason of a refusal, if the reason concerns the pod.
fn emit_refusal(context: &Context, request: &CniRequest, error: &CniError) {
    if let Some((reason, remedy)) = EventReason::of_refusal(error) {
        let text = format!("{}; {remedy}", error.msg);
        context.reporter.event(&request.pod, reason, text);
    }
}

/// Turns a panic into an error, so that the ADD is rolled back as after any other error (P-046).
async fn catch_panic<T>(future: impl Future<Output = Result<T, CniError>>) -> Result<T, CniError> {
    // Unwind safety: after a panic, only the record is used, which lists the started attachments.
    AssertUnwindSafe(future)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            Err(CniError::new(
                Code::Internal,
                "plexusd panicked; see its log, and please report this bug",
            ))
        })
}

/// Refuses the ADD if the (container, interface) has a record and so is attached (P-081). Returns
/// whether there was no record. An unreadable record is moved aside, so that the new record takes
/// its place.
fn refuse_attached(lock: &AddLock, ifname: &str) -> Result<bool, LedgerError> {
    match lock.load(ifname) {
        Ok(None) => Ok(true),
        Ok(Some(record)) => Err(LedgerError::AlreadyAttached {
            key: record.planned.key(),
        }),
        Err(error) if error.is_quarantined() => {
            tracing::error!(%error, "the record of an earlier ADD cannot be read");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn caller_gone() -> CniError {
    CniError::new(Code::TryAgain, "the caller disconnected during the call")
}

#[cfg(test)]
mod tests {
    use plexus_api::rows;

    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error() {
        rows!("P-046");
        let outcome = catch_panic::<u8>(async {
            tokio::task::yield_now().await;
            panic!("a bug")
        });
        let error = outcome.await.expect_err("the future panicked");
        assert!(
            error.code >= 100 && error.msg.contains("panicked"),
            "{error}"
        );
        assert_eq!(catch_panic(async { Ok(7) }).await, Ok(7));
        let refused = CniError::new(Code::TryAgain, "later");
        assert_eq!(
            catch_panic::<u8>(async { Err(refused.clone()) }).await,
            Err(refused)
        );
    }
}
