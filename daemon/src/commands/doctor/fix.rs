//! `--fix`: the daemon retries the DELs that have failed, and doctor removes the leases of retired
//! records. The ledger proves that what this deletes belongs to Plexus.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use plexus_api::cni::CniError;
use plexus_api::wire::SOCKET_NAME;
use plexus_api::without_os_codes;
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
            Some(Repair::RemoveLeases(leases)) => remove_leases(facts, leases).await,
        };
        finding.fix = Some(match repaired {
            Ok(()) => FIXED.to_owned(),
            Err(error) => format!("not fixed: {}", without_os_codes(&format!("{error:#}"))),
        });
    }
}

/// Removes each lease that can be removed.
async fn remove_leases(facts: &Facts, leases: Vec<(PathBuf, Lease)>) -> anyhow::Result<()> {
    let plugins = facts.plugins.as_ref().context("plugins cannot run")?;
    let count = leases.len();
    let remove = move || {
        let removed = leases.iter().map(|(file, lease)| {
            let removed = leases::remove(file, lease);
            removed.with_context(|| file.display().to_string())
        });
        let errors: Vec<_> = removed.filter_map(Result::err).collect();
        (errors.len(), errors.into_iter().next())
    };
    match plugins.host.run(remove).await? {
        (failed, Some(error)) => {
            Err(error.context(format!("{failed} of {count} leases cannot be removed")))
        }
        (_, None) => Ok(()),
    }
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
