//! What only a running daemon knows about pods: its recent warnings, and what it still has to do.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::handlers::AppState;
use super::responses::json;
use crate::hotplug::RoundStatus;
use crate::report::WriteState;

/// The path of the recent warnings of pods, for operators.
pub(crate) const WARNINGS: &str = "/warnings";
/// The path of what the daemon still has to do for pods, for operators.
pub(crate) const PENDING: &str = "/pending";

/// What a daemon still has to do, by `namespace/name` of the pod.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pending {
    pub(crate) network_status: BTreeMap<String, WriteState>,
    pub(crate) hotplug: BTreeMap<String, RoundStatus>,
}

pub(super) async fn warnings(State(state): State<AppState>) -> Response {
    let context = state.current_context();
    let warnings = context.map(|context| context.reporter.recent_warnings());
    json(&warnings.unwrap_or_default())
}

pub(super) async fn pending(State(state): State<AppState>) -> Response {
    let context = state.current_context();
    let network_status = context.map(|context| context.reporter.pending_statuses());
    json(&Pending {
        network_status: network_status.unwrap_or_default(),
        hotplug: state.hotplug_rounds.unsettled(),
    })
}
