//! The pods of this node: devices from kubelet, and annotations that cannot work.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plexus_api::cni::{CniArgs, CniError};
use plexus_api::json::RawMap;
use plexus_api::selection::{DEFAULT_NETWORK, NETWORKS};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::facts::Facts;
use super::finding::{Finding, Level, Outcome};
use crate::call_limits::CallLimits;
use crate::config::Settings;
use crate::gather::{Kubelet, PodRequest, Sources, kubelet_is_reachable, plan_input};
use crate::ledger::Ledger;
use crate::memory_budget::MemoryBudget;
use crate::model::{Pod, PodRef};
use crate::plan::{Plan, PlanInput, plan};

/// The time limit for the plan of a pod.
const PLAN_LIMIT: Duration = Duration::from_secs(5);
/// The time limit for a response of kubelet.
const KUBELET_LIMIT: Duration = Duration::from_secs(5);
/// The memory for the configurations of one pod, in bytes.
const MEMORY: usize = 32 << 20;

/// Kubelet reports the devices of pods.
pub(super) async fn kubelet(facts: &Facts) -> Outcome {
    let definitions = facts.store.definitions();
    if definitions
        .iter()
        .all(|definition| definition.resource_name.is_none())
    {
        return Outcome::NotApplicable("no definition names a resource of a device plugin");
    }
    let Some(plugins) = &facts.plugins else {
        return Outcome::NotApplicable("plugins cannot run");
    };
    let dir = &facts.settings().kubelet_dir;
    let kubelet = Kubelet::new(facts.metrics.clone());
    let deadline = Instant::now() + KUBELET_LIMIT;
    let subject = format!("kubeletDir {}", dir.display());
    // Only pods with devices depend on kubelet.
    let selected = definitions.iter().any(|definition| {
        let name = (definition.namespace.clone(), definition.name.clone());
        definition.resource_name.is_some() && facts.selected.contains(&name)
    });
    let level = if selected {
        Level::Failed
    } else {
        Level::Warning
    };
    let finding = match kubelet_is_reachable(&kubelet, &plugins.host, dir, deadline).await {
        Ok(true) => None,
        Ok(false) => Some(
            Finding::new(
                level,
                subject,
                "kubelet has no socket pod-resources/kubelet.sock there",
            )
            .with_remedy("set kubeletDir to the root directory of kubelet"),
        ),
        Err(error) => Some(Finding::new(level, subject, error.to_string())),
    };
    finding.into()
}

/// The annotations of the pods of this node can be served.
pub(super) async fn check(facts: &Facts) -> Outcome {
    let attached = attached_pods(facts);
    let mut pods = facts.store.pods();
    pods.retain(|pod| {
        let annotations = &pod.annotations;
        annotations.contains_key(NETWORKS) || annotations.contains_key(DEFAULT_NETWORK)
    });
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let mut findings = Vec::new();
    for pod in pods {
        let Err(error) = try_plan(facts, &pod).await else {
            continue;
        };
        let name = format!("{}/{}", pod.namespace, pod.name);
        if has_ended(facts, &pod).await {
            continue;
        }
        let subject = format!("pod {name}");
        findings.push(if attached.contains(&name) {
            let text = format!("runs, but could not start again: {error}");
            Finding::warning(subject, text)
        } else {
            Finding::failed(subject, format!("cannot start: {error}"))
        });
    }
    findings.into()
}

/// The pods with a sandbox that is attached: `namespace/name`.
pub(super) fn attached_pods(facts: &Facts) -> BTreeSet<String> {
    let records = Ledger::summaries(&facts.settings().state_dir);
    let records = records.into_iter().flatten().flatten();
    records
        .filter(|record| record.is_attached())
        .map(|record| record.planned.pod.to_string())
        .collect()
}

/// Whether the pod has ended, like that of a Job, and does not start again.
pub(super) async fn has_ended(facts: &Facts, pod: &Pod) -> bool {
    let cluster = facts.cluster.as_ref();
    let Some(reader) = cluster.and_then(|cluster| cluster.reader.as_ref()) else {
        return false;
    };
    let summary = reader.pod_summary(&pod.namespace, &pod.name).await;
    matches!(summary, Ok(Some(summary)) if summary.has_ended)
}

/// Plans the networks of a pod as its ADD would.
///
/// # Errors
/// Why the pod would be refused, or why it cannot be planned.
pub(in crate::commands) async fn try_plan(
    facts: &Facts,
    pod: &Pod,
) -> Result<(PlanInput, Plan), String> {
    let (Some(plugins), Some(found)) = (&facts.plugins, &facts.default_network) else {
        return Err("the networks of this node cannot be read".to_owned());
    };
    // The objects are listed already, so nothing is waited for.
    let settings = Settings {
        lookup_wait: Duration::ZERO,
        ..facts.settings().clone()
    };
    let kubelet = Kubelet::new(facts.metrics.clone());
    let memory = MemoryBudget::new(MEMORY);
    let sources = Sources {
        store: &facts.store,
        api: None,
        default_network: &found.default_network,
        memory: &memory,
        kubelet: &kubelet,
        host: &plugins.host,
    };
    let limits = CallLimits::new(
        "`plexusd doctor`",
        Instant::now(),
        PLAN_LIMIT,
        CancellationToken::new(),
    );
    let input = plan_input(sources, &settings, request(pod), BTreeSet::new(), &limits).await;
    // Nothing else uses this memory.
    let (input, _) = input.map_err(|error| CniError::from(error).msg)?;
    let plan = plan(&input).map_err(|error| error.msg)?;
    Ok((input, plan))
}

/// The ADD of a pod.
fn request(pod: &Pod) -> PodRequest {
    PodRequest {
        ifname: "eth0".to_owned(),
        container_id: "doctor".to_owned(),
        cni_args: CniArgs::default(),
        runtime_config: RawMap::from(BTreeMap::new()),
        pod: PodRef {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            is_static: pod.is_static(),
        },
    }
}
