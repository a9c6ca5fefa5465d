//! DELs that the shim left in the spool while no daemon was running.

use std::sync::Arc;

use plexus_api::wire::Request;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::context::Context;
use crate::host::Host;
use crate::ledger::{RecordKey, SpooledRequest};
use crate::operations::{Call, check_del, dispatch, recorded_netns};
use crate::telemetry::CallSpan;

/// Serves a spooled DEL (decision 11), with plugins on `host`. The request stays in the spool until
/// the DEL succeeds. A DEL that keeps failing succeeds once its record is orphaned (decision 12).
pub(super) async fn serve(context: Arc<Context>, spooled: SpooledRequest, host: Host) {
    let valid = spooled.read().and_then(|request| {
        check_del(&request)
            .map_err(|error| spooled.quarantine(&error.to_string()))
            .map(|()| request)
    });
    let mut request = match valid {
        Ok(request) => request,
        Err(error) => {
            tracing::error!(%error, "recovery: a DEL in the spool cannot be read");
            return;
        }
    };
    verify_netns(&context, &mut request, &host).await;
    let (span, metrics) = (CallSpan::new(&request.env), context.node.metrics.clone());
    let cancel = CancellationToken::new();
    let (arrived, context_ref) = (Instant::now(), Some(context.as_ref()));
    let call = Call::Cni { request, host };
    let outcome = dispatch(&context.node, context_ref, call, arrived, cancel)
        .instrument(span.span().clone())
        .await;
    metrics.cleaned_up("spooled_del", outcome.is_ok());
    let path = spooled.path().display().to_string();
    match outcome {
        Ok(_) => {
            tracing::info!(path, "recovery: a DEL from the spool succeeded");
            if let Err(error) = spooled.remove() {
                tracing::error!(%error, "recovery: a finished DEL cannot be removed from the spool");
            }
        }
        Err(error) => {
            tracing::warn!(path, %error, "recovery: a DEL from the spool failed and will be retried");
        }
    }
}

/// Clears `CNI_NETNS` in a spooled request unless the path still leads to the recorded namespace:
/// by now the path may belong to another sandbox.
async fn verify_netns(context: &Context, request: &mut Request, host: &Host) {
    let variable = |name: &str| {
        request
            .env
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    };
    let key = RecordKey::new(variable("CNI_CONTAINERID"), variable("CNI_IFNAME"));
    let netns = match context.ledger.summary(&key) {
        Ok(Some(record)) => recorded_netns(context, &record, host).await,
        _ => None,
    };
    if netns.as_deref() != Some(variable("CNI_NETNS")) {
        request.env.insert("CNI_NETNS".to_owned(), String::new());
    }
}
