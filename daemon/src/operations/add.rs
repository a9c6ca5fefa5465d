//! ADD: gathers, plans, records the plan, attaches one network after the other, moves the default
//! routes, reports.

mod attaching;

use std::panic::AssertUnwindSafe;
use std::path::Path;

use futures_util::FutureExt;
use plexus_api::cni::{CniError, Code};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::request::CniRequest;
use super::undo::{UndoArgs, undo};
use crate::clock::unix_ms;
use crate::context::Context;
use crate::delegate::{AttachGuard, PluginCall, Priority};
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
    let lock = context.ledger.lock_for_add(container_id, ifname).await?;
    let had_no_record = refuse_attached(&lock, ifname)?;
    let call = request.plugin_call(request.settings.add_timeout, cancel);
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
    let record = lock.plan(planned).await?;
    let guard = context
        .node
        .delegates
        .attach_guard(
            Priority::Add,
            &request.subject(),
            &record.planned.attachments,
        )
        .await;
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
    if !call.cancel.is_cancelled() {
        context.reporter.event(
            &record.planned.pod,
            EventReason::AttachFailed,
            format!("{error}; the runtime retries"),
        );
    }
    let _guard = if let Some(guard) = guard {
        guard
    } else {
        let attachments = &record.planned.attachments;
        context
            .node
            .delegates
            .attach_guard(Priority::Del, &request.subject(), attachments)
            .await
    };
    let nothing_added = record.attachments.iter().all(|state| state.added.is_none());
    let args = UndoArgs {
        host: call.host,
        netns: request.env.netns.clone(),
        path: call.path,
        env: call.env,
    };
    let undone = undo(context, lock, record, args, request.settings.del_timeout).await;
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
    let mut netns = Netns::open(path, &request.host).await?;
    let (planned, reservation) = plan_attachments(context, request, call, &mut netns)
        .await
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
    let sources = gather::Sources {
        store: &node.store,
        api: node.api_reader.as_deref(),
        default_network: &node.default_network,
        memory: &node.memory,
    };
    let deadlines = gather::GatherDeadlines {
        lookup: call.deadline,
        memory: call.deadline,
    };
    let gather = gather::plan_input(sources, &request.settings, pod_request, links, deadlines);
    let (input, reservation) = tokio::select! {
        input = gather => input?,
        () = call.cancel.cancelled() => return Err(caller_gone()),
    };
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

fn caller_gone() -> CniError {
    CniError::new(Code::TryAgain, "the runtime disconnected during the call")
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
