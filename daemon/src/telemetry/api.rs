//! A tower layer that measures the requests to the Kubernetes API server.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::http::{Method, Request, Response, Uri};
use tower::{Layer, Service};

use super::Metrics;

/// The layer, for `kube::client::ClientBuilder::with_layer`. Records the requests in [`Metrics`].
#[derive(Debug, Clone)]
pub(crate) struct ApiLayer(Arc<Metrics>);

/// A service that measures the requests to `S`.
#[derive(Debug, Clone)]
pub(crate) struct MeasuredService<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl ApiLayer {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self(metrics)
    }
}

impl<S> Layer<S> for ApiLayer {
    type Service = MeasuredService<S>;

    fn layer(&self, inner: S) -> MeasuredService<S> {
        MeasuredService {
            inner,
            metrics: self.0.clone(),
        }
    }
}

impl<S, B, R> Service<Request<B>> for MeasuredService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut timer = RequestTimer {
            metrics: self.metrics.clone(),
            info: RequestInfo::new(request.method(), request.uri()),
            start: Instant::now(),
            recorded: false,
        };
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await;
            match &response {
                Ok(response) => timer.record(response.status().as_str()),
                Err(_) => timer.record("error"),
            }
            response
        })
    }
}

/// A request in flight. A request that is dropped before its response, for example after a timeout,
/// counts as abandoned.
struct RequestTimer {
    metrics: Arc<Metrics>,
    info: RequestInfo,
    start: Instant,
    recorded: bool,
}

impl RequestTimer {
    fn record(&mut self, code: &str) {
        self.recorded = true;
        self.metrics.api_request(
            self.info.verb,
            &self.info.resource,
            code,
            self.start.elapsed(),
        );
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        if !self.recorded {
            self.record("abandoned");
        }
    }
}

/// Verb and resource of a request, in the terms of the API server: `patch`, `pods/status`.
#[derive(Debug, PartialEq, Eq)]
struct RequestInfo {
    verb: &'static str,
    resource: String,
}

impl RequestInfo {
    fn new(method: &Method, uri: &Uri) -> Self {
        let path: Vec<_> = uri
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        let (resource, is_collection) = match path.as_slice() {
            // /api/VERSION/… and /apis/GROUP/VERSION/…
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => resource(rest),
            _ => ("other".to_owned(), false),
        };
        Self {
            verb: verb(method, uri, is_collection),
            resource,
        }
    }
}

/// The resource in a path below the API's version, and whether the path is that of a collection.
fn resource(path: &[&str]) -> (String, bool) {
    match path {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => resource(rest),
        [resource, _, subresource, ..] => (format!("{resource}/{subresource}"), false),
        [resource, _] => ((*resource).to_owned(), false),
        [resource] => ((*resource).to_owned(), true),
        [] => ("other".to_owned(), false),
    }
}

fn verb(method: &Method, uri: &Uri, is_collection: bool) -> &'static str {
    let is_watch = |query: &str| {
        query
            .split('&')
            .any(|pair| matches!(pair, "watch=true" | "watch=1"))
    };
    match method.as_str() {
        "GET" if uri.query().is_some_and(is_watch) => "watch",
        "GET" if !is_collection => "get",
        "GET" => "list",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
