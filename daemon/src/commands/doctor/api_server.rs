//! The API server: whether it can be reached, and whether it lets the daemon do what it has to.

use std::time::{Duration, SystemTime};

use super::facts::{ClusterFacts, Facts};
use super::finding::{Finding, Level, Outcome};
use crate::cluster::kube::{ApiDiagnosis, Right};
use crate::serve::ObjectSource;

const NO_CLUSTER: &str = "the daemon has a directory of manifests instead of a cluster";
/// The path of the definitions of all namespaces.
const DEFINITIONS: &str = "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions?limit=1";
/// A larger difference of the clocks is worth a warning.
const MAX_DIFFERENCE: Duration = Duration::from_secs(30);
/// Tokens and certificates that have just been issued are not valid yet with a larger difference.
const FATAL_DIFFERENCE: Duration = Duration::from_mins(5);

/// What the daemon needs, as in `deploy/node/access.yaml`.
const RIGHTS: [Right; 9] = [
    right("get", "", "pods"),
    right("list", "", "pods"),
    right("watch", "", "pods"),
    right("get", "k8s.cni.cncf.io", "network-attachment-definitions"),
    right("list", "k8s.cni.cncf.io", "network-attachment-definitions"),
    right("watch", "k8s.cni.cncf.io", "network-attachment-definitions"),
    right("patch", "", "pods/status"),
    right("create", "", "events"),
    right("patch", "", "events"),
];

const fn right(verb: &'static str, group: &'static str, resource: &'static str) -> Right {
    Right {
        verb,
        group,
        resource,
    }
}

/// The API server answers. Opens the source of the objects for later checks.
pub(super) async fn reachable(facts: &mut Facts) -> Outcome {
    const SUBJECT: &str = "API server";
    let (settings, store) = (&facts.config.settings, &facts.store);
    let source = ObjectSource::open(&facts.args, settings, store, facts.metrics.clone()).await;
    let source = match source {
        Ok(source) => source,
        Err(error) => return Some(Finding::failed(SUBJECT, format!("{error:#}"))).into(),
    };
    let cluster = match &source {
        ObjectSource::Manifests(_) => None,
        ObjectSource::Cluster(cluster) => Some(ClusterFacts {
            node: cluster.node.clone(),
            reader: source.api_reader(),
            diagnosis: ApiDiagnosis::new(cluster.connection.clone()),
            date: None,
        }),
    };
    facts.source = Some(source);
    let Some(mut cluster) = cluster else {
        return Outcome::NotApplicable(NO_CLUSTER);
    };
    let answer = cluster.diagnosis.date().await;
    let finding = match answer {
        Ok(date) => {
            cluster.date = date.map(|date| (date, SystemTime::now()));
            None
        }
        Err(error) => {
            let remedy = "check the network of this node, its proxy settings, and the credentials of plexusd";
            Some(
                Finding::failed(SUBJECT, format!("cannot be reached: {error}")).with_remedy(remedy),
            )
        }
    };
    facts.cluster = Some(cluster);
    finding.into()
}

/// The clock of the node is that of the API server.
pub(super) fn clock(facts: &Facts) -> Outcome {
    let Some(cluster) = &facts.cluster else {
        return Outcome::NotApplicable(NO_CLUSTER);
    };
    match cluster.date {
        Some((theirs, own)) => judge_clock(theirs, own).into(),
        None => Outcome::NotApplicable("the API server does not send the time"),
    }
}

fn judge_clock(theirs: SystemTime, own: SystemTime) -> Option<Finding> {
    let (difference, direction) = match own.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if difference < MAX_DIFFERENCE {
        return None;
    }
    let level = if difference < FATAL_DIFFERENCE {
        Level::Warning
    } else {
        Level::Failed
    };
    let seconds = difference.as_secs();
    let text = format!("is {seconds} s {direction} that of the API server");
    Some(
        Finding::new(level, "clock of the node", text)
            .with_remedy("synchronize the clock: tokens and certificates depend on it"),
    )
}

/// The daemon has the rights that it needs.
pub(super) async fn rights(facts: &Facts) -> Outcome {
    let Some(cluster) = &facts.cluster else {
        return Outcome::NotApplicable(NO_CLUSTER);
    };
    let mut missing = Vec::new();
    for right in RIGHTS {
        match cluster.diagnosis.has(right).await {
            Ok(true) => {}
            Ok(false) => missing.push(format!("{} {}", right.verb, right.resource)),
            Err(error) => {
                let text = format!("the rights of plexusd cannot be read: {error}");
                return Some(Finding::warning("API server", text)).into();
            }
        }
    }
    let text = format!(
        "the ServiceAccount of plexusd may not {}",
        missing.join(", ")
    );
    let finding = (!missing.is_empty()).then(|| {
        Finding::failed("API server", text)
            .with_remedy("apply the rules of deploy/node/access.yaml")
    });
    finding.into()
}

/// The `CustomResourceDefinition` is installed.
pub(super) async fn crd(facts: &Facts) -> Outcome {
    let Some(cluster) = &facts.cluster else {
        return Outcome::NotApplicable(NO_CLUSTER);
    };
    let subject = "network-attachment-definitions";
    let finding = match cluster.diagnosis.serves(DEFINITIONS).await {
        Ok(true) => None,
        Ok(false) => Some(
            Finding::failed(
                subject,
                "the cluster has no CustomResourceDefinition of this kind",
            )
            .with_remedy("install it: `plexusd crd | kubectl apply -f -`"),
        ),
        Err(error) => Some(Finding::failed(subject, error.to_string())),
    };
    finding.into()
}

/// The node no longer has its start-up taint.
pub(super) async fn startup_taint(facts: &Facts) -> Outcome {
    let Some(cluster) = &facts.cluster else {
        return Outcome::NotApplicable(NO_CLUSTER);
    };
    let (Some(key), Some(reader)) = (&facts.settings().startup_taint, &cluster.reader) else {
        return Outcome::NotApplicable("startupTaint is not set");
    };
    let subject = format!("node {}", cluster.node);
    let finding = match reader.taints(&cluster.node).await {
        Ok(Some(taints)) if taints.contains(key) => Some(
            Finding::failed(
                subject,
                format!("has the start-up taint {key}, so no pod is scheduled"),
            )
            .with_remedy("plexusd removes it once Plexus works; its log says what is missing"),
        ),
        Ok(Some(_)) => None,
        Ok(None) => Some(
            Finding::failed(subject, "the API server has no node of this name")
                .with_remedy("compare --node-name or NODE_NAME with `kubectl get nodes`"),
        ),
        Err(error) => Some(
            Finding::failed(subject, error.to_string())
                .with_remedy("apply deploy/components/startup-taint, which grants the rights"),
        ),
    };
    finding.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_differs_by_minutes_fails() {
        let theirs = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let judge = |own| judge_clock(theirs, own);
        assert!(judge(theirs + Duration::from_secs(29)).is_none());
        assert!(judge(theirs - Duration::from_secs(29)).is_none());
        let ahead = judge(theirs + Duration::from_mins(1)).expect("a warning");
        assert_eq!(ahead.level, Level::Warning);
        assert!(ahead.cause.contains("60 s ahead of"), "{ahead:?}");
        let behind = judge(theirs - Duration::from_hours(1)).expect("a failure");
        assert_eq!(behind.level, Level::Failed);
        assert!(behind.cause.contains("3600 s behind"), "{behind:?}");
    }
}
