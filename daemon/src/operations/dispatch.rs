//! The dispatch of a call to the operation that serves it.

use plexus_api::cni::{CniError, Code, Verb};
use plexus_api::wire::Request;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::add::add;
use super::check::check;
use super::del::del;
use super::gc::gc;
use super::request::CniRequest;
use super::status::status;
use crate::context::{Context, NodeContext};
use crate::host::Host;

/// Whether a call has to wait until this daemon owns the ledger. STATUS does not: a slow plugin of
/// the previous daemon must not make the node `NotReady`.
pub(crate) fn needs_ledger(verb: Option<Verb>) -> bool {
    verb != Some(Verb::Status)
}

/// Serves one call, with plugins on `host`. `context` is `None` until this daemon owns the ledger;
/// see [`needs_ledger`]. The time limit of the call starts at `arrived`. `cancel` is cancelled when
/// the caller is gone: an ADD is then undone, DEL, CHECK and GC run to their end (decision 15).
///
/// # Errors
/// The error for the runtime. Its message names pod, network, interface and cause.
pub(crate) async fn dispatch(
    node: &NodeContext,
    context: Option<&Context>,
    request: Request,
    host: Host,
    arrived: Instant,
    cancel: CancellationToken,
) -> Result<Option<Box<RawValue>>, CniError> {
    let request = CniRequest::read(request, host, &node.fields, arrived)?;
    let verb = request.env.verb;
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
        (_, None) => {
            let msg = format!("{verb} needs the ledger, which this plexusd does not own yet");
            return Err(CniError::new(Code::TryAgain, msg));
        }
    }
    Ok(None)
}
