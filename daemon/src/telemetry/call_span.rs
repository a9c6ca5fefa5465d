//! One call of the runtime, as logs and metrics see it: a span around all of it, and one line at its end.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt as _;
use plexus_api::cni::{CniArgs, CniError, Code, Verb};
use plexus_api::wire::Request;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::Metrics;

/// A call.
#[derive(Debug)]
pub(crate) struct CallSpan {
    verb: Option<Verb>,
    span: Span,
}

impl CallSpan {
    /// What a request says of itself, whatever else may be wrong with it.
    pub(crate) fn new(request: &Request) -> Self {
        let get = |key: &str| {
            request
                .env
                .get(key)
                .map(String::as_str)
                .filter(|text| !text.is_empty())
        };
        let verb = get("CNI_COMMAND").and_then(|text| Verb::parse(text).ok());
        let args = CniArgs::parse_lossy(get("CNI_ARGS").unwrap_or_default());
        let pod = args.get("K8S_POD_NAMESPACE").zip(args.get("K8S_POD_NAME"));
        let pod = pod.map(|(namespace, name)| format!("{namespace}/{name}"));
        // At the highest level, or the lines of a daemon that logs only errors would not say which pod they are about.
        let span = tracing::error_span!(
            "cni",
            verb = verb.map(Verb::as_str),
            pod,
            container_id = get("CNI_CONTAINERID"),
            ifname = get("CNI_IFNAME"),
            // Recorded once they are known.
            networks = Empty,
        );
        Self { verb, span }
    }

    /// The span that everything of this call belongs to.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Does the work of this call: measured, within its span, and with one line at the end. A panic becomes an error.
    ///
    /// # Errors
    /// The work's.
    pub(crate) async fn observe<T>(
        self,
        metrics: &Metrics,
        work: impl Future<Output = Result<T, CniError>>,
    ) -> Result<T, CniError> {
        let Self { verb, span } = self;
        let name = verb.map_or("other", Verb::as_str);
        async {
            let start = Instant::now();
            let in_flight = metrics.call_began(name);
            let outcome = AssertUnwindSafe(work)
                .catch_unwind()
                .await
                .unwrap_or_else(|_| {
                    Err(CniError::new(
                        Code::Internal,
                        "plexusd panicked; its log has the place. Please report it",
                    ))
                });
            let took = start.elapsed();
            drop(in_flight);
            metrics.call_ended(
                name,
                outcome.as_ref().err().map_or(0, |error| error.code),
                took,
            );
            let duration_ms = (took.as_secs_f64() * 10_000.0).round() / 10.0;
            match &outcome {
                // A runtime asks for the status every few seconds.
                Ok(_) if verb == Some(Verb::Status) => tracing::debug!(duration_ms, "done"),
                Ok(_) => tracing::info!(duration_ms, "done"),
                Err(CniError {
                    code, msg, details, ..
                }) if verb == Some(Verb::Status) => {
                    tracing::warn!(code, duration_ms, details, "{msg}");
                }
                Err(CniError {
                    code, msg, details, ..
                }) => tracing::error!(code, duration_ms, details, "{msg}"),
            }
            outcome
        }
        .instrument(span)
        .await
    }

    /// Says in the span of the call that is being served which networks it is about.
    pub(crate) fn record_networks(networks: &str) {
        Span::current().record("networks", networks);
    }
}

#[cfg(test)]
mod tests;
