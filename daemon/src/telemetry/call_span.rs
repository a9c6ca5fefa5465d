//! The span, the log line and the metrics of one CNI call.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt as _;
use plexus_api::cni::{CniArgs, CniError, Code, Verb};
use plexus_api::shorten;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::Metrics;

/// The longest value of a field that can be valid, in bytes: a namespace and the name of a pod.
const MAX_FIELD: usize = 63 + 1 + 253;

/// A value that may be invalid, for a field of the span.
fn loggable(text: &str) -> String {
    if text.len() <= MAX_FIELD {
        text.to_owned()
    } else {
        shorten(text)
    }
}

/// One CNI call. Every log line of the call has the fields of the span.
pub(crate) struct CallSpan {
    verb: Option<Verb>,
    span: Span,
}

impl CallSpan {
    /// Takes the fields of the span from the environment of a request, which may be invalid.
    pub(crate) fn new(env: &BTreeMap<String, String>) -> Self {
        let get = |key: &str| {
            env.get(key)
                .map(String::as_str)
                .filter(|text| !text.is_empty())
        };
        let verb = get("CNI_COMMAND").and_then(|text| Verb::parse(text).ok());
        let args = CniArgs::parse_lossy(get("CNI_ARGS").unwrap_or_default());
        let pod = args
            .get("K8S_POD_NAMESPACE")
            .zip(args.get("K8S_POD_NAME"))
            .map(|(namespace, name)| loggable(&format!("{namespace}/{name}")));
        // At level ERROR, so that a daemon that logs only errors also logs the span.
        let span = tracing::error_span!(
            "cni",
            verb = verb.map(Verb::as_str),
            pod,
            container_id = get("CNI_CONTAINERID").map(loggable),
            ifname = get("CNI_IFNAME").map(loggable),
            networks = Empty,
        );
        Self { verb, span }
    }

    /// The verb of the request. `None` if the request has no valid verb.
    pub(crate) fn verb(&self) -> Option<Verb> {
        self.verb
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Runs the call in its span, records its metrics, and logs one line at its end. A panic
    /// becomes an error.
    ///
    /// # Errors
    /// The error of `work`, or [`Code::Internal`] after a panic.
    pub(crate) async fn observe<T>(
        self,
        metrics: &Metrics,
        work: impl Future<Output = Result<T, CniError>>,
    ) -> Result<T, CniError> {
        let Self { verb, span } = self;
        let name = verb.map_or("other", Verb::as_str);
        async {
            let start = Instant::now();
            let in_flight = metrics.call_started(name);
            let outcome = AssertUnwindSafe(work)
                .catch_unwind()
                .await
                .unwrap_or_else(|_| {
                    Err(CniError::new(
                        Code::Internal,
                        "plexusd panicked: report this as a bug, with the log of plexusd",
                    ))
                });
            let duration = start.elapsed();
            drop(in_flight);
            metrics.call_finished(
                name,
                outcome.as_ref().err().map_or(0, |error| error.code),
                duration,
            );
            let duration_ms = (duration.as_secs_f64() * 10_000.0).round() / 10.0;
            match &outcome {
                // Runtimes send STATUS every few seconds.
                Ok(_) if verb == Some(Verb::Status) => tracing::debug!(duration_ms, "done"),
                Ok(_) => tracing::info!(duration_ms, "done"),
                Err(CniError { code, msg, details }) => {
                    let details = (!details.is_empty()).then_some(details);
                    if verb == Some(Verb::Status) {
                        tracing::warn!(code, duration_ms, details, "{msg}");
                    } else {
                        tracing::error!(code, duration_ms, details, "{msg}");
                    }
                }
            }
            outcome
        }
        .instrument(span)
        .await
    }

    /// Adds the networks to the span of the current call.
    pub(crate) fn record_networks(networks: &str) {
        Span::current().record("networks", networks);
    }
}

#[cfg(test)]
mod tests;
