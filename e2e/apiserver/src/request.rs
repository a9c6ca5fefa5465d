//! A parsed HTTP request.

use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::audit::AuditEntry;
use crate::faults::RequestAttributes;
use crate::path::ResourcePath;
use crate::query::Query;
use crate::status_error::StatusError;

/// The maximum size of a request body.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// A request.
pub struct ApiRequest {
    /// The verb as in RBAC. For a path that is not a resource, `get` or empty.
    pub verb: &'static str,
    /// The requested resource; `None` for a path that is not a resource.
    pub path: Option<ResourcePath>,
    pub query: Query,
    /// The header `Accept`.
    pub accept: String,
    /// The header `Content-Type` without parameters.
    pub media_type: String,
    /// The body; empty if it could not be read.
    pub body: Bytes,
    /// Whether the body is too large, or the client stopped sending.
    pub body_too_large: bool,
    uri: Uri,
    user_agent: String,
}

impl ApiRequest {
    /// Reads the request to its end.
    pub async fn read(parts: &Parts, body: Body) -> Self {
        let body = read_body(body).await;
        let header = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let path = ResourcePath::parse(parts.uri.path());
        let query = Query::parse(parts.uri.query());
        let media_type = header(CONTENT_TYPE).split(';').next().unwrap_or_default();
        Self {
            verb: match &path {
                Some(path) => path.verb(&parts.method, &query),
                None if parts.method == Method::GET => "get",
                None => "",
            },
            path,
            query,
            accept: header(ACCEPT).to_owned(),
            media_type: media_type.trim().to_owned(),
            body_too_large: body.is_none(),
            body: body.unwrap_or_default(),
            uri: parts.uri.clone(),
            user_agent: header(USER_AGENT).to_owned(),
        }
    }

    /// The path of the URL.
    pub fn url_path(&self) -> &str {
        self.uri.path()
    }

    /// The body as a JSON document.
    ///
    /// # Errors
    /// 415 for another media type, 400 if the body is not JSON.
    pub fn document(&self) -> Result<Value, StatusError> {
        if !matches!(self.media_type.as_str(), "" | "application/json") {
            return Err(StatusError::unsupported_media_type("application/json"));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            StatusError::bad_request(&format!("the object provided is unrecognized: {error}"))
        })
    }

    /// The `DeleteOptions` from body and query.
    ///
    /// # Errors
    /// As [`document`](Self::document).
    pub fn delete_options(&self) -> Result<Value, StatusError> {
        let mut options = if self.body.is_empty() {
            json!({})
        } else {
            self.document()?
        };
        if let Some(seconds) = self.query.number("gracePeriodSeconds") {
            options["gracePeriodSeconds"] = seconds.into();
        }
        Ok(options)
    }

    /// The entry for the audit log. `user` is empty if the token is unknown.
    pub fn audit_entry(&self, user: &str) -> AuditEntry {
        AuditEntry {
            verb: self.verb.to_owned(),
            path: self.path.clone().unwrap_or_default(),
            uri: self.uri.to_string(),
            user: user.to_owned(),
            user_agent: self.user_agent.clone(),
            body: String::from_utf8_lossy(&self.body).into_owned(),
            code: None,
            started: Instant::now(),
            finished: None,
        }
    }

    /// The attributes that faults match on.
    pub fn attributes(&self, user: String) -> RequestAttributes {
        let resource = self.path.as_ref().map_or_else(
            || self.url_path().to_owned(),
            ResourcePath::resource_and_subresource,
        );
        RequestAttributes {
            verb: self.verb.to_owned(),
            resource,
            name: self
                .path
                .as_ref()
                .map_or_else(String::new, |path| path.name.clone()),
            user,
        }
    }
}

/// Returns `None` if the body is too large or incomplete. Reads to the end in any case: closing a
/// connection with unread data would discard the response.
async fn read_body(mut body: Body) -> Option<Bytes> {
    let mut read = Vec::new();
    let mut valid = true;
    while let Some(frame) = body.frame().await {
        match frame.ok().and_then(|frame| frame.into_data().ok()) {
            Some(data) if valid && read.len() + data.len() <= BODY_LIMIT => {
                read.extend_from_slice(&data);
            }
            _ => valid = false,
        }
    }
    valid.then(|| read.into())
}
