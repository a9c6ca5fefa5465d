//! The dispatch of a call to the operation that serves it.

use plexus_api::cni::{CniError, Code, Verb};
use plexus_api::wire::Request;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::add::add;
use super::check::check;
use super::del::del;
use super::gc::gc;
use super::request::CniRequest;
use super::status::status;
use crate::context::{Context, NodeContext};
use crate::host::Host;

/// Whether a call has to wait until this daemon owns the ledger. STATUS does not: a slow plugin of the daemon that
/// still owns the ledger must not make the node `NotReady`.
pub(crate) fn needs_ledger(verb: Option<Verb>) -> bool {
    verb != Some(Verb::Status)
}

/// Serves one call, with plugins on `host`. `owner` is `None` until this daemon owns the ledger; see
/// [`needs_ledger`]. `gone` is cancelled when the caller is gone: an ADD is then undone, the other operations run to
/// their end (decision 15).
///
/// # Errors
/// The error for the runtime. Its message names pod, network, interface and cause.
pub(crate) async fn dispatch(
    node: &NodeContext,
    owner: Option<&Context>,
    request: &Request,
    host: Host,
    gone: CancellationToken,
) -> Result<Option<Box<RawValue>>, CniError> {
    let request = CniRequest::read(request, host, &node.fields)?;
    let verb = request.env.verb;
    match (verb, owner) {
        (Verb::Status, _) => status(node, &request, gone).await?,
        (Verb::Add, Some(context)) => return add(context, &request, gone).await.map(Some),
        (Verb::Del, Some(context)) => del(context, &request).await?,
        (Verb::Check, Some(context)) => check(context, &request).await?,
        (Verb::Gc, Some(context)) => gc(context, &request).await?,
        (Verb::Version, _) => {
            let msg = "the daemon does not serve VERSION; the shim answers it without the daemon";
            return Err(CniError::new(Code::InvalidEnvironment, msg));
        }
        (_, None) => {
            let msg = format!("{verb} needs the ledger, which this plexusd does not own yet");
            return Err(CniError::new(Code::TryAgain, msg));
        }
    }
    Ok(None)
}
