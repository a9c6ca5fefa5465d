//! Adoption of sandboxes that Multus attached before Plexus replaced Multus. Their records are
//! built from Multus' cache.

use std::path::PathBuf;
use std::{fs, io};

use plexus_api::cni::CniError;

use super::request::CniRequest;
use crate::clock::unix_ms;
use crate::context::Context;
use crate::gather::multus::{MultusSandbox, read_sandbox};
use crate::ledger::{ContainerLock, FORMAT, Line, PLEXUSD, Planned, Record};
use crate::model::DefaultRoutes;

/// The record of a sandbox that Multus attached, built from Multus' cache and not stored, because
/// CHECK changes nothing.
pub(super) async fn record_from_multus(
    context: &Context,
    request: &CniRequest,
) -> Option<(Record, MultusSandbox)> {
    let env = &request.env;
    let (dir, args) = (request.settings.cni_dir.clone(), request.args.clone());
    let (container_id, ifname) = (env.container_id.clone(), env.ifname.clone());
    // Read in the runtime's mount namespace, so that the daemon's container needs no mount of the
    // cache.
    let sandbox = request
        .host
        .run(move || read_sandbox(&dir, &container_id, &ifname, &args))
        .await
        .ok()
        .flatten()?;
    let planned = Planned {
        format: FORMAT,
        plexusd: PLEXUSD.to_owned(),
        container_id: env.container_id.clone(),
        ifname: env.ifname.clone(),
        netns: sandbox.netns.clone(),
        netns_id: None,
        boot_id: context.node.boot_id.clone(),
        created_unix_ms: unix_ms(),
        created_boottime_ns: None,
        pod: request.pod.clone(),
        cni_path: env.path.clone(),
        executable_path: request.plugin_env.get("PATH").cloned(),
        attachments: sandbox
            .attachments
            .iter()
            .map(|(attachment, _)| attachment.clone())
            .collect(),
        default_routes: DefaultRoutes::default(),
        revision: 0,
    };
    let mut record = Record::new(planned);
    journal_lines(&sandbox).for_each(|line| record.apply(line));
    Some((record, sandbox))
}

/// Stores the record of a sandbox that Multus attached, so that its DEL is retried like any other.
/// Removes Multus' files once the record is durable: from then on, the ledger owns the sandbox.
pub(super) async fn adopt(
    context: &Context,
    request: &CniRequest,
    lock: &ContainerLock,
) -> Result<Option<Record>, CniError> {
    let Some((record, sandbox)) = record_from_multus(context, request).await else {
        return Ok(None);
    };
    let mut record = lock.plan(record.planned).await?;
    for line in journal_lines(&sandbox) {
        lock.append(&mut record, line)?;
    }
    tracing::info!(pod = %request.pod, "Multus attached this sandbox; its record is in the ledger now");
    let files = sandbox.files;
    let errors = request
        .host
        .run(move || remove_files(files))
        .await
        .unwrap_or_else(|error| vec![error.to_string()]);
    for error in errors {
        // A redundant DEL costs time, but does no harm.
        tracing::warn!(
            pod = %request.pod, error,
            "a file of Multus cannot be removed; remove it by hand: as long as it exists, each DEL of this sandbox \
             runs the plugins again"
        );
    }
    Ok(Some(record))
}

/// Removes the files in order, and continues after errors. Returns the errors. Blocking.
fn remove_files(files: Vec<PathBuf>) -> Vec<String> {
    files
        .into_iter()
        .filter_map(|path| match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Some(format!("{}: {error}", path.display()))
            }
            _ => None,
        })
        .collect()
}

fn journal_lines(sandbox: &MultusSandbox) -> impl Iterator<Item = Line> {
    let states = sandbox
        .attachments
        .iter()
        .enumerate()
        .map(|(index, (_, result))| match result {
            Some(result) => Line::Added {
                index,
                result: result.clone(),
            },
            None => Line::Started { index },
        });
    // Multus has already written network-status.
    states.chain([Line::StatusWritten, Line::Completed])
}
