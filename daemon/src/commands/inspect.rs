//! `plexusd inspect`: what a pod asks for, what it would get now, what it has, and where these differ.
//!
//! Everything is read as the daemon reads it: from the API server or the manifests, from the ledger,
//! and from the kernel. Only recent errors and pending changes come from the running daemon. No value
//! that may be secret is printed.

mod asked;
mod difference;
mod from_daemon;
mod has;
mod text;

use std::io;

use anyhow::bail;
use plexus_api::status::NetworkStatus;
use serde::Serialize;

use super::doctor::{Facts, read_facts, try_plan};
use super::plan::PlanView;
use super::table;
use crate::cli::{InspectArgs, TableFormat};
use crate::cluster::kube::{ApiError, PodSummary};
use crate::cluster::manifests::read_status;
use crate::hotplug::RoundStatus;
use crate::report::WriteState;
use asked::Asked;
use from_daemon::{FromDaemon, LastError, round_problem};
use has::Sandbox;

/// What is known about a pod.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PodInspection {
    /// `namespace/name`.
    pod: String,
    /// Where the pod and the definitions come from.
    source: String,
    /// What is wrong. Empty if the pod has what it asks for.
    problems: Vec<String>,
    /// The elements of the annotation. Empty if it is invalid.
    asks: Vec<Asked>,
    /// Why the annotation is invalid, if it is.
    asks_error: Option<String>,
    /// `None` if the pod is not known on this node.
    would_get: Option<PlanView>,
    /// The sandboxes of the pod, the newest first.
    has: Vec<Sandbox>,
    /// The annotation network-status. `None` if the pod has none, or if it cannot be read.
    network_status: Option<Vec<NetworkStatus>>,
    /// The recent warnings that the running plexusd has emitted for the pod, the oldest first. Empty if
    /// no plexusd runs.
    last_errors: Vec<LastError>,
    /// The write of network-status that the running plexusd has not finished.
    network_status_write: Option<WriteState>,
    /// What hot-plug does with the pod, if the pod does not have what its annotation asks for.
    hotplug_round: Option<RoundStatus>,
}

/// Prints what is known about a pod.
///
/// # Errors
/// The pod is unknown on this node, or the ledger cannot be read.
pub fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let Some((namespace, name)) = args.pod.split_once('/') else {
        bail!("{:?} is not NAMESPACE/NAME", args.pod);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let inspection = runtime.block_on(examine(args, namespace, name));
    runtime.shutdown_background();
    let out = &mut io::stdout().lock();
    match args.output {
        TableFormat::Json => table::print_json(&inspection?, out),
        TableFormat::Text => Ok(text::print(&inspection?, out)?),
    }
}

async fn examine(args: &InspectArgs, namespace: &str, name: &str) -> anyhow::Result<PodInspection> {
    let (facts, mut problems) = read_facts(&args.daemon).await?;
    let state_dir = &facts.settings().state_dir;
    let host = facts.plugins.as_ref().map(|plugins| &plugins.host);
    let has = has::of_pod(state_dir, host, namespace, name).await?;
    let reader = facts
        .cluster
        .as_ref()
        .and_then(|cluster| cluster.reader.as_ref());
    let summary = match reader {
        Some(reader) => Some(reader.pod_summary(namespace, name).await),
        None => None,
    };
    let pod = facts.store.pod(namespace, name);
    if pod.is_none() && has.records.is_empty() {
        let hint = elsewhere(summary.as_ref());
        problems.push(format!(
            "pod {} is not known on this node, and the ledger has no record of it{hint}",
            args.pod
        ));
        bail!("{}", problems.join("; "));
    }
    let network_status = match (&summary, &facts.args.manifests) {
        (Some(Ok(Some(summary))), _) => summary.network_status.clone(),
        (_, Some(dir)) => read_status(dir, namespace, name),
        _ => None,
    };
    let network_status = network_status.map(|text| serde_json::from_str(&text));
    let FromDaemon {
        last_errors,
        status_write,
        hotplug_round,
    } = FromDaemon::of_pod(&facts.settings().socket_dir, namespace, name).await;
    problems.extend(has.problems);
    let (mut asks, mut asks_error, mut would_get) = (Vec::new(), None, None);
    if let Some(pod) = &pod {
        match asked::of_pod(pod) {
            Ok(asked) => asks = asked,
            Err(error) => asks_error = Some(error),
        }
        let planned = try_plan(&facts, pod).await;
        let plan = planned.as_ref().map(|(_, plan)| plan);
        let failed = last_errors.iter().rev();
        let failed = failed.map(|last| last.message.as_str()).next();
        problems.extend(difference::of_plan(pod, plan, &has.records, failed));
        let title = format!("Pod {}", args.pod);
        would_get = Some(match planned {
            Ok((input, plan)) => PlanView::new(title, &input, &plan),
            Err(error) => PlanView::refused(title, error),
        });
    } else {
        let text = "the pod is not known on this node, although the ledger has a record of it";
        problems.push(format!("{text}{}", elsewhere(summary.as_ref())));
    }
    problems.extend(hotplug_round.as_ref().map(round_problem));
    problems.extend(difference::of_status(
        &has.records,
        network_status.as_ref().map(Result::as_ref),
        status_write.as_ref(),
    ));
    Ok(PodInspection {
        pod: args.pod.clone(),
        source: source(&facts),
        problems,
        asks,
        asks_error,
        would_get,
        has: has.sandboxes,
        network_status: network_status.and_then(Result::ok),
        last_errors,
        network_status_write: status_write,
        hotplug_round,
    })
}

fn source(facts: &Facts) -> String {
    match (&facts.cluster, &facts.args.manifests) {
        (Some(cluster), _) => format!("the API server, as node {}", cluster.node),
        (None, Some(dir)) => format!("the manifests in {}", dir.display()),
        (None, None) => "the ledger alone".to_owned(),
    }
}

/// Where else a pod is that this node does not have.
fn elsewhere(summary: Option<&Result<Option<PodSummary>, ApiError>>) -> String {
    match summary {
        None => String::new(),
        Some(Ok(None)) => "; the cluster has no pod of this name".to_owned(),
        Some(Ok(Some(PodSummary { node: None, .. }))) => {
            "; the pod has not been assigned to a node yet".to_owned()
        }
        Some(Ok(Some(PodSummary {
            node: Some(node), ..
        }))) => format!("; the pod is on node {node}: inspect it there"),
        Some(Err(error)) => format!("; the API server cannot be asked: {error}"),
    }
}
