//! Validation of the query parameters of list and watch, with the error messages of Kubernetes.

use crate::field_error::FieldError;
use crate::query::Query;
use crate::status_error::StatusError;

const MATCH: &str = "resourceVersionMatch";

/// Refuses parameters of a list that contradict each other.
///
/// # Errors
/// 422.
pub fn validate_list(query: &Query) -> Result<(), StatusError> {
    let mut errors = Vec::new();
    let version_match = query.text(MATCH);
    if !version_match.is_empty() {
        if query.text("resourceVersion").is_empty() {
            errors.push(FieldError::forbidden(
                MATCH,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        errors.extend(match_with_continue(query));
        if !matches!(version_match, "Exact" | "NotOlderThan") {
            errors.push(FieldError::not_supported(
                MATCH,
                version_match,
                "\"Exact\", \"NotOlderThan\", \"\"",
            ));
        }
        if version_match == "Exact" && query.text("resourceVersion") == "0" {
            errors.push(FieldError::forbidden(
                MATCH,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
    }
    if query.flag("sendInitialEvents").is_some() {
        errors.push(FieldError::forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        ));
    }
    reject(&errors)
}

/// Refuses parameters of a watch that contradict each other.
///
/// # Errors
/// 422.
pub fn validate_watch(query: &Query) -> Result<(), StatusError> {
    let mut errors = Vec::new();
    let version_match = query.text(MATCH);
    let initial_events = query.flag("sendInitialEvents").is_some();
    if initial_events && version_match != "NotOlderThan" {
        errors.push(FieldError::forbidden(
            MATCH,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    if !version_match.is_empty() {
        if !initial_events {
            errors.push(FieldError::forbidden(
                MATCH,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if version_match != "NotOlderThan" {
            errors.push(FieldError::not_supported(
                MATCH,
                version_match,
                "\"NotOlderThan\"",
            ));
        }
        errors.extend(match_with_continue(query));
    }
    reject(&errors)
}

fn match_with_continue(query: &Query) -> Option<FieldError> {
    (!query.text("continue").is_empty()).then(|| {
        FieldError::forbidden(
            MATCH,
            "resourceVersionMatch is forbidden when continue is provided",
        )
    })
}

fn reject(errors: &[FieldError]) -> Result<(), StatusError> {
    StatusError::reject_invalid("meta.k8s.io", "ListOptions", "", errors)
}
