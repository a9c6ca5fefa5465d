//! Error responses, worded as in Kubernetes.

use std::fmt;

use serde_json::{Value, json};

use crate::field_error::FieldError;
use crate::resources::{Resource, qualified_name};

/// An error response.
#[derive(Debug, Clone)]
pub struct StatusError {
    /// The HTTP status.
    pub code: u16,
    /// The header `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// The response body.
    pub body: ErrorBody,
}

/// The body of a [`StatusError`].
#[derive(Debug, Clone)]
pub enum ErrorBody {
    /// An object of the kind `Status`.
    Status(Value),
    /// Plain text, for unknown paths and overload.
    Text(String),
}

impl StatusError {
    fn status(code: u16, reason: &str, message: &str, details: Option<Value>) -> Self {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
        });
        if !reason.is_empty() {
            status["reason"] = reason.into();
        }
        if let Some(details) = details {
            status["details"] = details;
        }
        Self {
            code,
            retry_after: None,
            body: ErrorBody::Status(status),
        }
    }

    fn for_object(code: u16, reason: &str, resource: &Resource, name: &str, message: &str) -> Self {
        let details = details(&resource.group, &resource.plural, name);
        Self::status(code, reason, message, Some(details))
    }

    /// The object does not exist.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified_name());
        Self::for_object(404, "NotFound", resource, name, &message)
    }

    /// The path is unknown.
    pub fn unknown_path() -> Self {
        Self {
            code: 404,
            retry_after: None,
            body: ErrorBody::Text("404 page not found\n".into()),
        }
    }

    /// An object of that name exists.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified_name());
        Self::for_object(409, "AlreadyExists", resource, name, &message)
    }

    /// A precondition is not met.
    pub fn conflict(resource: &Resource, name: &str, reason: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {reason}",
            resource.qualified_name()
        );
        Self::for_object(409, "Conflict", resource, name, &message)
    }

    /// The object was changed after the client read it.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// The object has invalid fields.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let texts: Vec<_> = errors.iter().map(FieldError::text).collect();
        let reason = match texts.as_slice() {
            [text] => text.clone(),
            texts => format!("[{}]", texts.join(", ")),
        };
        let mut details = details(group, kind, name);
        details["causes"] = errors.iter().map(FieldError::to_cause).collect();
        let qualified = qualified_name(group, kind);
        Self::status(
            422,
            "Invalid",
            &format!("{qualified} \"{name}\" is invalid: {reason}"),
            Some(details),
        )
    }

    /// Fails with [`invalid`](Self::invalid) if there are any errors.
    pub fn reject_invalid(
        group: &str,
        kind: &str,
        name: &str,
        errors: &[FieldError],
    ) -> Result<(), Self> {
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Self::invalid(group, kind, name, errors))
        }
    }

    /// A JSON patch cannot be applied, for example because a `test` operation fails. Kubernetes
    /// gives no reason either.
    pub fn patch_failed() -> Self {
        Self::status(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
            Some(json!({})),
        )
    }

    /// The request is malformed.
    pub fn bad_request(message: &str) -> Self {
        Self::status(400, "BadRequest", message, None)
    }

    /// The token is unknown.
    pub fn unauthorized() -> Self {
        Self::status(401, "Unauthorized", "Unauthorized", None)
    }

    /// The user has no permission.
    pub fn forbidden(group: &str, resource: &str, name: &str, reason: &str) -> Self {
        let qualified = qualified_name(group, resource);
        let quoted = if name.is_empty() {
            String::new()
        } else {
            format!(" \"{name}\"")
        };
        let message = format!("{qualified}{quoted} is forbidden: {reason}");
        Self::status(
            403,
            "Forbidden",
            message.trim_start(),
            Some(details(group, resource, name)),
        )
    }

    /// The resource version is older than the history of the server.
    pub fn expired(message: &str) -> Self {
        Self::status(410, "Expired", message, None)
    }

    /// The resource version is newer than the latest one of the server.
    pub fn too_large_resource_version(requested: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {requested}, current: {current}");
        let details = json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        });
        let error = Self::status(
            504,
            "Timeout",
            &format!("Timeout: {message}"),
            Some(details),
        );
        Self {
            retry_after: Some(1),
            ..error
        }
    }

    /// The media type of the request body is not supported.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::status(415, "UnsupportedMediaType", &message, None)
    }

    /// The client accepts no media type that the server supports.
    pub fn not_acceptable(message: &str) -> Self {
        Self::status(406, "NotAcceptable", message, None)
    }

    /// The resource does not support the verb.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::status(405, "MethodNotAllowed", message, Some(json!({})))
    }

    /// The request body is too large.
    pub fn request_too_large() -> Self {
        let message = "Request entity too large: limit is 3145728";
        Self::status(413, "RequestEntityTooLarge", message, None)
    }

    /// The error of an injected fault.
    pub fn injected(code: u16) -> Self {
        let (reason, message) = match code {
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => (
                "Timeout",
                "Timeout: request did not complete within the allotted timeout",
            ),
            _ => ("InternalError", "Internal error occurred: injected fault"),
        };
        Self::status(code, reason, message, None)
    }

    /// An error without a reason.
    pub fn internal(message: &str) -> Self {
        Self::status(500, "", message, None)
    }

    /// The server is overloaded, as reported by API priority and fairness.
    pub fn too_many_requests(retry_after: u32) -> Self {
        let text = "Too many requests, please try again later.\n".into();
        Self {
            code: 429,
            retry_after: Some(retry_after),
            body: ErrorBody::Text(text),
        }
    }

    /// The `Status`. Returns `None` if the body is plain text.
    pub fn as_status(&self) -> Option<&Value> {
        match &self.body {
            ErrorBody::Status(status) => Some(status),
            ErrorBody::Text(_) => None,
        }
    }

    /// Adds a token to continue the list at the current resource version.
    #[must_use]
    pub fn with_continue(mut self, token: &str) -> Self {
        if let ErrorBody::Status(status) = &mut self.body {
            status["metadata"] = json!({"continue": token});
        }
        self
    }
}

fn details(group: &str, kind: &str, name: &str) -> Value {
    let mut details = json!({});
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details[key] = value.into();
        }
    }
    details
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match &self.body {
            ErrorBody::Status(status) => status["message"].as_str().unwrap_or_default(),
            ErrorBody::Text(text) => text.trim_end(),
        };
        write!(f, "{} {message}", self.code)
    }
}
