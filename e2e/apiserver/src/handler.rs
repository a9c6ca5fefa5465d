//! Handles requests: authentication, audit log, faults, and dispatch by path.

mod access_review;
mod non_resource;
mod resource;

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;

use crate::faults::Effect;
use crate::network::Connection;
use crate::request::ApiRequest;
use crate::response::{slow_down, to_http};
use crate::state::ServerState;
use crate::status_error::StatusError;

/// Handles one request.
pub async fn handle(state: Arc<ServerState>, connection: Connection, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let user = state.access().authenticate(&parts.headers);
    let request = ApiRequest::read(&parts, body).await;
    let entry = request.audit_entry(user.as_deref().unwrap_or_default());
    let audit = Arc::new(state.audit.begin(entry));
    let user = match user {
        Ok(user) => user,
        Err(error) => {
            let response = to_http(Err(error));
            audit.set_code(response.status().as_u16());
            return response;
        }
    };
    let attributes = request.attributes(user);
    let effects = state.faults.take(&attributes);
    let outcome = match apply_before(&effects, &connection).await {
        Err(error) => Err(error),
        Ok(()) if request.body_too_large => Err(StatusError::request_too_large()),
        Ok(()) => match &request.path {
            None => non_resource::handle(&state, &request, &attributes.user),
            Some(path) if access_review::is_review(path) => {
                access_review::handle(&state, &request, &attributes.user)
            }
            Some(path) => {
                let cut_after = effects.iter().find_map(|effect| match effect {
                    Effect::CutAfter(events) => Some(*events),
                    _ => None,
                });
                let watch = resource::WatchContext {
                    attributes,
                    cut_after,
                    connection: connection.clone(),
                    audit: audit.clone(),
                };
                resource::handle(&state, &request, path, watch)
            }
        },
    };
    if effects
        .iter()
        .any(|effect| matches!(effect, Effect::LoseResponse))
    {
        disconnect(&connection).await;
    }
    let response = to_http(outcome);
    audit.set_code(response.status().as_u16());
    let slow_body = effects.iter().find_map(|effect| match effect {
        Effect::SlowBody(duration) => Some(*duration),
        _ => None,
    });
    match slow_body {
        Some(duration) => slow_down(response, duration, audit).await,
        None => response,
    }
}

/// Applies the effects that precede the execution of the request.
async fn apply_before(effects: &[Effect], connection: &Connection) -> Result<(), StatusError> {
    for effect in effects {
        match effect {
            Effect::Delay(duration) => tokio::time::sleep(*duration).await,
            Effect::TooManyRequests(seconds) => {
                return Err(StatusError::too_many_requests(*seconds));
            }
            Effect::Error(code) => return Err(StatusError::injected(*code)),
            Effect::Disconnect => disconnect(connection).await,
            Effect::LoseResponse | Effect::SlowBody(_) | Effect::Stall | Effect::CutAfter(_) => {}
        }
    }
    Ok(())
}

/// Closes the connection before anything else is written to it. Never returns: the task of the
/// connection is dropped.
async fn disconnect(connection: &Connection) {
    connection.close();
    std::future::pending::<()>().await;
}
