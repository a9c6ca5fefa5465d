//! The devices that are allocated to a pod (decision 33).

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::error::GatherError;
use crate::model::{Allocation, Devices, PodRef};

/// The devices of the pod, for each of `resources`. Asks nobody if there are none (D-030).
///
/// # Errors
/// The source of devices did not answer before `deadline`.
#[allow(clippy::unused_async)]
pub(super) async fn of_pod(
    _pod: &PodRef,
    resources: BTreeSet<String>,
    _deadline: Instant,
) -> Result<Devices, GatherError> {
    let unknown = || Allocation::Unknown("Plexus does not read devices yet".to_owned());
    Ok(resources
        .into_iter()
        .map(|resource| (resource, unknown()))
        .collect())
}
