//! Measures the requests to the Kubernetes API server: a layer around the client's service.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::http::{Method, Request, Response, Uri};
use tower::{Layer, Service};

use super::Metrics;

/// The layer, for `kube::client::ClientBuilder::with_layer`.
#[derive(Debug, Clone)]
pub(crate) struct ApiLayer(Arc<Metrics>);

/// A service that is measured.
#[derive(Debug, Clone)]
pub(crate) struct ApiService<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl ApiLayer {
    /// A layer that records in `metrics`.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self(metrics)
    }
}

impl<S> Layer<S> for ApiLayer {
    type Service = ApiService<S>;

    fn layer(&self, inner: S) -> ApiService<S> {
        ApiService {
            inner,
            metrics: self.0.clone(),
        }
    }
}

impl<S, B, R> Service<Request<B>> for ApiService<S>
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
        let asked = Asked::of(request.method(), request.uri());
        let mut measured = Measured {
            metrics: self.metrics.clone(),
            asked,
            start: Instant::now(),
            answered: false,
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            match &answer {
                Ok(answer) => measured.end(answer.status().as_str()),
                Err(_) => measured.end("error"),
            }
            answer
        })
    }
}

/// A request under way. One that is given up, because its time is over, is dropped.
struct Measured {
    metrics: Arc<Metrics>,
    asked: Asked,
    start: Instant,
    answered: bool,
}

impl Measured {
    fn end(&mut self, code: &str) {
        self.answered = true;
        self.metrics.api_answered(
            self.asked.verb,
            &self.asked.resource,
            code,
            self.start.elapsed(),
        );
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if !self.answered {
            self.end("abandoned");
        }
    }
}

/// What a request is about, in the API's terms: `patch`, `pods/status`.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    verb: &'static str,
    resource: String,
}

impl Asked {
    fn of(method: &Method, uri: &Uri) -> Self {
        let mut path = uri.path().split('/').filter(|part| !part.is_empty());
        // /api/VERSION/… or /apis/GROUP/VERSION/…
        let skipped = match path.next() {
            Some("api") => 1,
            Some("apis") => 2,
            _ => {
                return Self {
                    verb: verb(method, uri, true),
                    resource: "other".to_owned(),
                };
            }
        };
        let parts: Vec<_> = path.skip(skipped).collect();
        let parts = match parts.as_slice() {
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        let resource = match parts {
            [resource, _, subresource, ..] => format!("{resource}/{subresource}"),
            [resource, ..] => (*resource).to_owned(),
            [] => "other".to_owned(),
        };
        Self {
            verb: verb(method, uri, parts.len() != 1),
            resource,
        }
    }
}

fn verb(method: &Method, uri: &Uri, one: bool) -> &'static str {
    let watch = |query: &str| {
        query
            .split('&')
            .any(|pair| matches!(pair, "watch=true" | "watch=1"))
    };
    match method.as_str() {
        "GET" if uri.query().is_some_and(watch) => "watch",
        "GET" if one => "get",
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
