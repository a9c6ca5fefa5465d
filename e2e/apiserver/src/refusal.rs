//! What the server answers when it does not do what was asked: a `Status`, worded as Kubernetes words it.

use serde_json::{Value, json};

use super::kinds::Kind;

/// An answer other than success.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// The header `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// What the body is.
    pub body: Body,
}

/// The body of a [`Refusal`].
#[derive(Debug, Clone)]
pub enum Body {
    /// A `Status`.
    Status(Value),
    /// Plain text, as paths that nobody serves and overload are answered.
    Text(String),
}

/// One field that is wrong, for [`Refusal::invalid`].
#[derive(Debug, Clone)]
pub struct Cause {
    reason: &'static str,
    field: String,
    message: String,
}

impl Cause {
    /// A value that may not be.
    pub fn invalid(field: &str, value: &Value, why: &str) -> Self {
        Self {
            reason: "FieldValueInvalid",
            field: field.into(),
            message: format!("Invalid value: {value}: {why}"),
        }
    }

    /// A value that is missing.
    pub fn required(field: &str, why: &str) -> Self {
        let message = if why.is_empty() {
            "Required value".into()
        } else {
            format!("Required value: {why}")
        };
        Self {
            reason: "FieldValueRequired",
            field: field.into(),
            message,
        }
    }

    /// A value that may not be given, or not be changed.
    pub fn forbidden(field: &str, why: &str) -> Self {
        Self {
            reason: "FieldValueForbidden",
            field: field.into(),
            message: format!("Forbidden: {why}"),
        }
    }

    /// A value that is too large.
    pub fn too_long(field: &str, limit: usize) -> Self {
        let message = format!("Too long: may not be more than {limit} bytes");
        Self {
            reason: "FieldValueTooLong",
            field: field.into(),
            message,
        }
    }

    /// A value that is none of those that may be.
    pub fn not_supported(field: &str, value: &str, supported: &str) -> Self {
        let message = format!("Unsupported value: \"{value}\": supported values: {supported}");
        Self {
            reason: "FieldValueNotSupported",
            field: field.into(),
            message,
        }
    }
}

impl Refusal {
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
            body: Body::Status(status),
        }
    }

    fn about(code: u16, reason: &str, kind: &Kind, name: &str, message: &str) -> Self {
        let message = format!("{} \"{name}\" {message}", kind.qualified());
        Self::status(
            code,
            reason,
            message.trim_start(),
            Some(details(&kind.group, &kind.plural, name)),
        )
    }

    /// The object is not there.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::about(404, "NotFound", kind, name, "not found")
    }

    /// Nobody serves the path.
    pub fn no_such_page() -> Self {
        Self {
            code: 404,
            retry_after: None,
            body: Body::Text("404 page not found\n".into()),
        }
    }

    /// The object is there already.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::about(409, "AlreadyExists", kind, name, "already exists")
    }

    /// A resource version or a precondition does not fit.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            kind.qualified()
        );
        Self::status(
            409,
            "Conflict",
            &message,
            Some(details(&kind.group, &kind.plural, name)),
        )
    }

    /// The object was changed since it was read.
    pub fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// The object does not hold what it must.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Self {
        let texts: Vec<_> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        let why = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let mut details = details(group, kind, name);
        let causes = causes.iter();
        details["causes"] = causes
            .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
            .collect();
        Self::status(
            422,
            "Invalid",
            &format!("{qualified} \"{name}\" is invalid: {why}"),
            Some(details),
        )
    }

    /// A JSON patch cannot be applied, as where its test fails. Kubernetes does not say why.
    pub fn unprocessable() -> Self {
        Self::status(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
            Some(json!({})),
        )
    }

    /// The request makes no sense.
    pub fn bad_request(message: &str) -> Self {
        Self::status(400, "BadRequest", message, None)
    }

    /// Nobody knows the token.
    pub fn unauthorized() -> Self {
        Self::status(401, "Unauthorized", "Unauthorized", None)
    }

    /// The user may not do this.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let qualified = if group.is_empty() {
            resource.to_owned()
        } else {
            format!("{resource}.{group}")
        };
        let quoted = if name.is_empty() {
            String::new()
        } else {
            format!(" \"{name}\"")
        };
        let message = format!("{qualified}{quoted} is forbidden: {why}");
        Self::status(
            403,
            "Forbidden",
            message.trim_start(),
            Some(details(group, resource, name)),
        )
    }

    /// The resource version is older than what the server remembers.
    pub fn expired(message: &str) -> Self {
        Self::status(410, "Expired", message, None)
    }

    /// The resource version is newer than the server's newest.
    pub fn too_large_resource_version(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let details = json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        });
        let refusal = Self::status(
            504,
            "Timeout",
            &format!("Timeout: {message}"),
            Some(details),
        );
        Self {
            retry_after: Some(1),
            ..refusal
        }
    }

    /// The body has a type that the server does not take.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::status(415, "UnsupportedMediaType", &message, None)
    }

    /// The client takes no type that the server can make.
    pub fn not_acceptable(why: &str) -> Self {
        Self::status(406, "NotAcceptable", why, None)
    }

    /// The resource does not have this verb.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::status(405, "MethodNotAllowed", message, Some(json!({})))
    }

    /// The body is larger than the server reads.
    pub fn too_large() -> Self {
        let message = "Request entity too large: limit is 3145728";
        Self::status(413, "RequestEntityTooLarge", message, None)
    }

    /// The server failed; also what a fault looks like.
    pub fn server_error(code: u16) -> Self {
        let (reason, message) = match code {
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => (
                "Timeout",
                "Timeout: request did not complete within the allotted timeout",
            ),
            _ => (
                "InternalError",
                "Internal error occurred: a fault was asked for",
            ),
        };
        Self::status(code, reason, message, None)
    }

    /// Something that the server says without a reason of its own.
    pub fn internal(message: &str) -> Self {
        Self::status(500, "", message, None)
    }

    /// The server is overloaded, in the words of its priority and fairness filter.
    pub fn too_many_requests(retry_after: u32) -> Self {
        let text = "Too many requests, please try again later.\n".into();
        Self {
            code: 429,
            retry_after: Some(retry_after),
            body: Body::Text(text),
        }
    }

    /// The `Status`, where it is one.
    pub fn as_status(&self) -> Option<&Value> {
        match &self.body {
            Body::Status(status) => Some(status),
            Body::Text(_) => None,
        }
    }

    /// The same with a token that continues a list whose snapshot is gone.
    #[must_use]
    pub fn with_continue(mut self, token: &str) -> Self {
        if let Body::Status(status) = &mut self.body {
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

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = self
            .as_status()
            .and_then(|status| status["message"].as_str())
            .unwrap_or("no such resource");
        write!(f, "{} {message}", self.code)
    }
}
