//! `SelfSubjectAccessReview`: whether the user of the request has a right.

use axum::http::StatusCode;
use serde_json::json;

use crate::path::ResourcePath;
use crate::request::ApiRequest;
use crate::response::ApiResponse;
use crate::state::ServerState;
use crate::status_error::StatusError;

/// Whether this is the path of the reviews.
pub fn is_review(path: &ResourcePath) -> bool {
    (path.group.as_str(), path.resource.as_str())
        == ("authorization.k8s.io", "selfsubjectaccessreviews")
}

/// Answers a review. Every user may create one.
pub fn handle(
    state: &ServerState,
    request: &ApiRequest,
    user: &str,
) -> Result<ApiResponse, StatusError> {
    if request.verb != "create" {
        return Err(StatusError::method_not_allowed());
    }
    let mut review = request.document()?;
    let attributes = &review["spec"]["resourceAttributes"];
    let text = |key: &str| attributes[key].as_str().unwrap_or_default().to_owned();
    let path = ResourcePath {
        group: text("group"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        ..ResourcePath::default()
    };
    let access = state.access();
    let allowed = access.authorize(user, &text("verb"), &path, &text("name"));
    review["status"] = json!({"allowed": allowed.is_ok()});
    Ok(ApiResponse::Document(StatusCode::CREATED, review))
}
