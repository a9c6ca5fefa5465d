//! Errors of single fields, as `k8s.io/apimachinery/pkg/util/validation/field` words them.

use serde_json::{Value, json};

/// An invalid field of an object or of the options of a request.
#[derive(Debug, Clone)]
pub struct FieldError {
    reason: &'static str,
    field: String,
    message: String,
}

impl FieldError {
    /// A value that the field must not have.
    pub fn invalid(field: &str, value: &Value, reason: &str) -> Self {
        Self {
            reason: "FieldValueInvalid",
            field: field.into(),
            message: format!("Invalid value: {value}: {reason}"),
        }
    }

    /// A missing value.
    pub fn required(field: &str, reason: &str) -> Self {
        let message = if reason.is_empty() {
            "Required value".into()
        } else {
            format!("Required value: {reason}")
        };
        Self {
            reason: "FieldValueRequired",
            field: field.into(),
            message,
        }
    }

    /// A field that must not be set or changed.
    pub fn forbidden(field: &str, reason: &str) -> Self {
        Self {
            reason: "FieldValueForbidden",
            field: field.into(),
            message: format!("Forbidden: {reason}"),
        }
    }

    /// A value of more than `limit` bytes.
    pub fn too_long(field: &str, limit: usize) -> Self {
        Self {
            reason: "FieldValueTooLong",
            field: field.into(),
            message: format!("Too long: may not be more than {limit} bytes"),
        }
    }

    /// A value that is not in the list of supported values.
    pub fn not_supported(field: &str, value: &str, supported: &str) -> Self {
        Self {
            reason: "FieldValueNotSupported",
            field: field.into(),
            message: format!("Unsupported value: \"{value}\": supported values: {supported}"),
        }
    }

    /// The field and the message, as in the message of a `Status`.
    pub fn text(&self) -> String {
        format!("{}: {}", self.field, self.message)
    }

    /// The cause in the details of a `Status`.
    pub fn to_cause(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}
