//! Requests for paths that are not resources: health checks, version, discovery.

use crate::discovery;
use crate::representation::Representation;
use crate::request::ApiRequest;
use crate::response::ApiResponse;
use crate::state::ServerState;
use crate::status_error::StatusError;

/// Executes a request for a path that is not a resource.
pub fn handle(
    state: &ServerState,
    request: &ApiRequest,
    user: &str,
) -> Result<ApiResponse, StatusError> {
    let path = request.url_path();
    state
        .access()
        .authorize_non_resource(user, request.verb, path)?;
    if request.verb != "get" {
        return Err(StatusError::method_not_allowed());
    }
    if matches!(path, "/healthz" | "/livez" | "/readyz") {
        return Ok(ApiResponse::Text("ok"));
    }
    let address = state.address.to_string();
    let document = discovery::document(&state.store().resources, path, &address)
        .ok_or_else(StatusError::unknown_path)?;
    Representation::negotiate(&request.accept, false)?;
    Ok(ApiResponse::ok(document))
}
