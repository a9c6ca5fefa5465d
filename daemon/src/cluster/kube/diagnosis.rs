//! Requests that show whether the API server can be used, for `plexusd doctor`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::http::header::{CONTENT_TYPE, DATE};
use hyper::http::{Request, Response, StatusCode};
use k8s_openapi::jiff::fmt::rfc2822;
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::client::CachedClient;
use super::connection::Connection;
use super::error::ApiError;

/// The time limit for the answer to one request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A request that the daemon makes, as RBAC names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) verb: &'static str,
    pub(crate) group: &'static str,
    /// With the subresource, such as `pods/status`.
    pub(crate) resource: &'static str,
}

/// Asks the API server.
#[derive(Debug)]
pub(crate) struct ApiDiagnosis(CachedClient);

impl ApiDiagnosis {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self(CachedClient::new(connection))
    }

    /// Whether the API server answers and accepts the credentials. Returns the time in its answer.
    pub(crate) async fn date(&self) -> Result<Option<SystemTime>, ApiError> {
        let response = self.get("/version").await?;
        let date = response.headers().get(DATE);
        Ok(date.and_then(|date| parse_date(date.to_str().ok()?)))
    }

    /// Whether the API server has a resource.
    pub(crate) async fn serves(&self, path: &str) -> Result<bool, ApiError> {
        Ok(self.get(path).await?.status() != StatusCode::NOT_FOUND)
    }

    /// Whether the daemon has this right.
    pub(crate) async fn has(&self, right: Right) -> Result<bool, ApiError> {
        let Right {
            verb,
            group,
            resource,
        } = right;
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "subresource": subresource,
            }},
        });
        let body = review.to_string().into_bytes();
        let answer: Value = self
            .send(|client| {
                let request =
                    Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
                        .header(CONTENT_TYPE, "application/json")
                        .body(body.clone());
                async move {
                    let request = request.map_err(kube::core::request::Error::BuildRequest);
                    client
                        .request(request.map_err(kube::Error::BuildRequest)?)
                        .await
                }
            })
            .await?;
        Ok(answer["status"]["allowed"] == true)
    }

    async fn get(&self, path: &str) -> Result<Response<Body>, ApiError> {
        self.send(|client: Client| {
            let request = Request::get(path).body(Body::empty());
            async move {
                let request = request.map_err(kube::core::request::Error::BuildRequest);
                let response = client
                    .send(request.map_err(kube::Error::BuildRequest)?)
                    .await?;
                let status = response.status();
                if matches!(status, StatusCode::UNAUTHORIZED) || status.is_server_error() {
                    return Err(kube::Error::Api(Box::new(refusal(status))));
                }
                Ok(response)
            }
        })
        .await
    }

    async fn send<T, F>(&self, send: impl Fn(Client) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = kube::Result<T>>,
    {
        timeout(ANSWER_TIMEOUT, self.0.request(send))
            .await
            .map_err(|_| ApiError::Timeout(ANSWER_TIMEOUT))?
    }
}

fn refusal(status: StatusCode) -> Status {
    Status {
        code: status.as_u16(),
        reason: status.canonical_reason().unwrap_or_default().to_owned(),
        message: "the API server refuses the request".to_owned(),
        ..Status::default()
    }
}

/// The time in a header of HTTP.
fn parse_date(text: &str) -> Option<SystemTime> {
    let time = rfc2822::parse(text).ok()?.timestamp();
    Some(SystemTime::from(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_a_response_is_read() {
        let date = parse_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(date, expected);
        assert_eq!(parse_date("yesterday"), None);
    }
}
