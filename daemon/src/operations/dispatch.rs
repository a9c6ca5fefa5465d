//! The dispatch of a call to the operation that serves it.

use plexus_api::cni::{CniError, Code, Verb};
use plexus_api::wire::{DelegateRequest, Request};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::add::add;
use super::check::check;
use super::del::del;
use super::delegate::serve_delegate;
use super::gc::gc;
use super::request::CniRequest;
use super::status::status;
use crate::context::{Context, NodeContext};
use crate::host::Host;
use crate::mutex::lock;

/// A request of one of the paths for calls.
#[derive(Debug)]
pub(crate) enum Call {
    /// `/cni`: a call of a runtime, with plugins on `host`.
    Cni { request: Request, host: Host },
    /// `/delegate`: the request of a program. The program is no runtime, so the plugins run on the host
    /// of the last runtime.
    Delegate(DelegateRequest),
}

/// Whether a call has to wait until this daemon owns the ledger. STATUS does not: a slow plugin of
/// the previous daemon must not make the node `NotReady`.
pub(crate) fn needs_ledger(verb: Option<Verb>) -> bool {
    verb != Some(Verb::Status)
}

/// Serves one call. `context` is `None` until this daemon owns the ledger;
/// see [`needs_ledger`]. The time limit of the call starts at `arrived`. `cancel` is cancelled when
/// the caller is gone: an ADD is then undone, DEL, CHECK and GC run to their end (decision 15).
///
/// # Errors
/// The error for the runtime. Its message names pod, network, interface and cause.
pub(crate) async fn dispatch(
    node: &NodeContext,
    context: Option<&Context>,
    call: Call,
    arrived: Instant,
    cancel: CancellationToken,
) -> Result<Option<Box<RawValue>>, CniError> {
    let (request, host) = match call {
        Call::Cni { request, host } => (request, host),
        Call::Delegate(request) => {
            return serve_delegate(node, context, &request, arrived, cancel).await;
        }
    };
    let request = CniRequest::read(request, host, &node.fields, arrived)?;
    let verb = request.env.verb;
    if !request.env.path.is_empty() {
        lock(&node.plugin_dirs).clone_from(&request.env.path);
    }
    match (verb, context) {
        (Verb::Status, _) => status(node, &request, cancel).await?,
        (Verb::Add, Some(context)) => return add(context, &request, cancel).await.map(Some),
        (Verb::Del, Some(context)) => del(context, &request).await?,
        (Verb::Check, Some(context)) => check(context, &request, cancel).await?,
        (Verb::Gc, Some(context)) => gc(context, &request).await?,
        (Verb::Version, _) => {
            let msg = "plexusd does not serve VERSION; the shim answers without plexusd";
            return Err(CniError::new(Code::InvalidEnvironment, msg));
        }
        (_, None) => return Err(no_ledger(verb)),
    }
    Ok(None)
}

/// The error of a call that needs the ledger, which another plexusd owns.
pub(super) fn no_ledger(verb: Verb) -> CniError {
    let msg = format!("{verb} needs the ledger, which this plexusd does not own yet");
    CniError::new(Code::TryAgain, msg)
}
