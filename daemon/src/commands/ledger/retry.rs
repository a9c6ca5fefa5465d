//! `plexusd ledger retry`.

use std::io::Write;
use std::path::Path;

use anyhow::bail;
use plexus_api::wire::SOCKET_NAME;

use crate::cli::RetryArgs;
use crate::commands::daemon::{block_on, success, unanswered};
use crate::ledger::{Ledger, RecordKey, RetryRequest};
use crate::server::{RETRY, no_daemon, post};

/// Retries failed DELs through the daemon, one after the other, and prints each outcome.
pub(super) fn run(state_dir: &Path, args: &RetryArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let socket = args.socket_dir.join(SOCKET_NAME);
    let records = failing(state_dir, args)?;
    if records.is_empty() {
        bail!("no DEL of these records has failed; `plexusd ledger list` shows all records");
    }
    block_on(retry_all(&socket, &records, out))
}

async fn retry_all(
    socket: &Path,
    records: &[(RecordKey, String)],
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut failed = 0;
    for (key, pod) in records {
        let RecordKey {
            container_id,
            ifname,
        } = key;
        match retry(socket, key).await? {
            None => writeln!(out, "deleted {container_id} {ifname} {pod}")?,
            Some(error) => {
                failed += 1;
                writeln!(out, "failed {container_id} {ifname} {pod} {error}")?;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} DELs failed again", records.len());
    }
    Ok(())
}

/// The records whose DEL has failed, with their pods.
fn failing(state_dir: &Path, args: &RetryArgs) -> anyhow::Result<Vec<(RecordKey, String)>> {
    let mut failing = Vec::new();
    for record in Ledger::summaries(state_dir)?.flatten() {
        let planned = &record.planned;
        let is_selected = args.all || args.containers.contains(&planned.container_id);
        if is_selected && record.del_failures.count > 0 {
            failing.push((planned.key(), planned.pod.to_string()));
        }
    }
    failing.sort();
    Ok(failing)
}

/// Returns the error of the DEL, if it failed again.
async fn retry(socket: &Path, key: &RecordKey) -> anyhow::Result<Option<String>> {
    let request = RetryRequest {
        container_id: key.container_id.clone(),
        ifname: key.ifname.clone(),
    };
    match post(socket, RETRY, serde_json::to_vec(&request)?).await {
        Ok(response) => Ok(success(response).err().map(|error| error.to_string())),
        Err(error) if no_daemon(&error) => {
            bail!(
                "no plexusd listens at {}; only a running plexusd can retry a DEL",
                socket.display()
            )
        }
        Err(error) => Err(unanswered(socket, error)),
    }
}
