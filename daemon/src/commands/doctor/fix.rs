//! `--fix`: the daemon retries the DELs that have failed, and doctor removes the leases of retired
//! records. The ledger proves that what this deletes belongs to Plexus.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use plexus_api::cni::CniError;
use plexus_api::wire::SOCKET_NAME;
use tokio::time::timeout;

use super::facts::Facts;
use super::finding::Repair;
use super::leases::{self, Lease};
use super::report::Report;
use crate::ledger::{RecordKey, RetryRequest};
use crate::server::{RETRY, post};

/// The outcome of a finding that is no longer one.
pub(super) const FIXED: &str = "fixed";

pub(super) async fn fix(report: &mut Report, facts: &Facts) {
    let settings = facts.settings();
    let socket = settings.socket_dir.join(SOCKET_NAME);
    // The daemon has this time for the DEL, and its plugins exit after it.
    let limit = settings.del_timeout + settings.plugin_timeout;
    for finding in report.findings_mut() {
        let repaired = match finding.repair.clone() {
            None => continue,
            Some(Repair::Retry(record)) => retry(&socket, record, limit).await,
            Some(Repair::RemoveLease { file, lease }) => remove_lease(facts, file, lease).await,
        };
        finding.fix = Some(match repaired {
            Ok(()) => FIXED.to_owned(),
            Err(error) => format!("not fixed: {error}"),
        });
    }
}

async fn remove_lease(facts: &Facts, file: PathBuf, lease: Lease) -> anyhow::Result<()> {
    let plugins = facts.plugins.as_ref().context("plugins cannot run")?;
    let removed = plugins.host.run(move || leases::remove(&file, &lease));
    Ok(removed.await??)
}

async fn retry(socket: &Path, record: RecordKey, limit: Duration) -> anyhow::Result<()> {
    let RecordKey {
        container_id,
        ifname,
    } = record;
    let request = serde_json::to_vec(&RetryRequest {
        container_id,
        ifname,
    })?;
    let response = timeout(limit, post(socket, RETRY, request)).await??;
    if response.status.is_success() {
        return Ok(());
    }
    let error: CniError = serde_json::from_slice(&response.body)?;
    anyhow::bail!("{}", error.msg)
}
