//! Receives the bodies of requests within limits of time and memory.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::StatusCode;
use axum::response::Response;
use http_body_util::{BodyExt as _, Limited};
use plexus_api::cni::{CniError, Code};
use plexus_api::wire::MAX_REQUEST;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::responses::{error_response, refused};
use crate::call_limits::CallLimits;
use crate::memory_budget::{MemoryBudget, Reservation};

/// The time limit for a caller to send the body after the head of its request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body. The memory for the body and for what is parsed from it is reserved.
#[derive(Debug)]
pub(super) struct ReceivedBody {
    pub(super) bytes: Bytes,
    pub(super) reservation: Reservation,
}

impl<S> FromRequest<S> for ReceivedBody
where
    S: Send + Sync,
    MemoryBudget: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        // The end of the connection drops this future.
        let limits = CallLimits::new(
            "request",
            Instant::now(),
            BODY_TIMEOUT,
            CancellationToken::new(),
        );
        let body = request.into_body();
        let announced = body.size_hint().upper().unwrap_or(MAX_REQUEST as u64);
        if announced > MAX_REQUEST as u64 {
            return Err(too_long());
        }
        let length = usize::try_from(announced).unwrap_or(MAX_REQUEST);
        let reservation = MemoryBudget::from_ref(state)
            .reserve(2 * length, &limits)
            .await
            .map_err(|error| {
                let error = CniError::new(Code::TryAgain, error.to_string());
                error_response(StatusCode::SERVICE_UNAVAILABLE, &error)
            })?;
        match timeout_at(limits.deadline, collect(body)).await {
            Ok(Ok(bytes)) => Ok(Self { bytes, reservation }),
            Ok(Err(response)) => Err(response),
            Err(_) => {
                let msg = format!(
                    "the body of the request did not arrive within {} s",
                    BODY_TIMEOUT.as_secs()
                );
                let error = CniError::new(Code::TryAgain, msg);
                Err(error_response(StatusCode::REQUEST_TIMEOUT, &error))
            }
        }
    }
}

async fn collect(body: Body) -> Result<Bytes, Response> {
    let collected = Limited::new(body, MAX_REQUEST).collect().await;
    let collected = collected.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            return too_long();
        }
        let msg = format!("the body of the request cannot be read: {error}");
        refused(&CniError::new(Code::Decode, msg))
    })?;
    Ok(collected.to_bytes())
}

fn too_long() -> Response {
    let msg = format!("the request is too long; the limit is {MAX_REQUEST} bytes");
    let error = CniError::new(Code::Decode, msg);
    // There is no call span yet that would log the error.
    tracing::warn!(code = error.code, "{}", error.msg);
    refused(&error)
}
