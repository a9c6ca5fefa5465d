//! One round for one pod: compares the annotation and the record, detaches, attaches, reports.

use std::sync::Arc;

use plexus_api::cni::{CniError, Code};
use plexus_api::selection::{self, NETWORKS, Selection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attached_pods::PodName;
use crate::call_limits::CallLimits;
use crate::context::Context;
use crate::delegate::{GuardScope, Priority};
use crate::gather::Additions;
use crate::ledger::{Record, RecordKey};
use crate::model::{Attachment, Pod, PodRef};
use crate::operations::{Change, RecordMemory, loaded_size, lock_within};
use crate::plan::{Difference, free_ifnames, plan_addition};
use crate::report::events::EventReason;

/// The outcome of a round. The worst is the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There was nothing to do.
    Unchanged,
    Changed,
    /// A part of the annotation is refused, for this reason. A retry cannot succeed until the
    /// annotation or a definition changes.
    Refused(String),
    /// A part has failed, for this reason. A retry may succeed.
    Failed(String),
}

impl Outcome {
    /// The value of the label `outcome` in the metrics.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }

    /// The worse one, or the first of two that are equally bad.
    fn and(self, other: Self) -> Self {
        let severity = |outcome: &Self| match outcome {
            Self::Unchanged => 0,
            Self::Changed => 1,
            Self::Refused(_) => 2,
            Self::Failed(_) => 3,
        };
        if severity(&other) > severity(&self) {
            other
        } else {
            self
        }
    }
}

/// What a round is based on. Found again under the locks, if nothing has changed meanwhile.
#[derive(Debug)]
struct Basis {
    annotation: Option<String>,
    elements: Vec<Selection>,
    difference: Difference,
    /// The creation time and the revision of the record.
    record: (u64, u64),
}

impl Basis {
    /// The elements without an attachment.
    fn wanted(&self) -> impl Iterator<Item = &Selection> + Clone {
        let positions = self.difference.attach.iter();
        positions.map(|position| &self.elements[*position])
    }

    /// Whether `other` asks for the same changes of the same record.
    fn is_same(&self, other: &Self) -> bool {
        let wants = |basis: &Self| -> Vec<_> {
            let wanted = basis.wanted();
            wanted
                .map(|one| {
                    let name = (one.namespace.clone(), one.name.clone());
                    (name, one.interface.clone(), one.parameters().ok())
                })
                .collect()
        };
        self.record == other.record
            && self.difference.detach == other.difference.detach
            && wants(self) == wants(other)
    }
}

/// Runs a round for a pod. `stop` ends its waits, but no plugin.
pub(super) async fn run_round(
    context: &Context,
    (namespace, name): &PodName,
    stop: &CancellationToken,
) -> Outcome {
    let Some(key) = context
        .ledger
        .newest_sandbox(namespace, name, &context.node.boot_id)
    else {
        return Outcome::Unchanged;
    };
    let settings = &context.node.settings;
    let call = format!("the change of pod {namespace}/{name}");
    let limits = CallLimits::new(call, Instant::now(), settings.add_timeout, stop.clone());
    let round = Round {
        context,
        key,
        limits,
    };
    match Box::pin(round.run()).await {
        Ok(outcome) => outcome,
        // The next plexusd continues.
        Err(error) if stop.is_cancelled() => Outcome::Failed(error.to_string()),
        Err(error) => {
            round.report_error(&error);
            Outcome::Failed(error.to_string())
        }
    }
}

struct Round<'a> {
    context: &'a Context,
    key: RecordKey,
    limits: CallLimits,
}

impl Round<'_> {
    async fn run(&self) -> Result<Outcome, CniError> {
        let (context, limits) = (self.context, &self.limits);
        loop {
            let memory = RecordMemory::reserve(context, &self.key, limits).await?;
            let Some(record) = context.ledger.read(&self.key)? else {
                return Ok(Outcome::Unchanged);
            };
            let basis = match self.basis(&record) {
                Ok(basis) => basis,
                Err(outcome) => return Ok(outcome),
            };
            if basis.difference.is_empty() && !record.has_unfinished_change() {
                self.report_ignored(&record, &basis);
                return Ok(Outcome::Unchanged);
            }
            let host = context.node.hosts.for_cleanup()?;
            let pod = record.planned.pod.clone();
            let wanted: Vec<_> = basis.wanted().collect();
            let sources = context.node.sources(&host);
            let settings = &context.node.settings;
            let scope = GuardScope::new(&pod, &record.planned.attachments);
            // A wait for memory must hold none.
            drop((record, memory));
            let file_size = context.ledger.size(&self.key);
            let of_record = loaded_size(file_size);
            let additions = Additions::gather(sources, settings, &pod, &wanted, of_record, limits);
            let additions = additions.await?;
            let scope = scope.with(&pod, &additions.scope().collect::<Vec<_>>());
            let priority = Priority::Recovery;
            let locked = lock_within(context, priority, &self.key, &scope, file_size, limits);
            let Some((lock, _guard)) = locked.await? else {
                continue;
            };
            let Some(record) = lock.load(&self.key.ifname)? else {
                return Ok(Outcome::Unchanged);
            };
            match self.basis(&record) {
                Ok(current) if current.is_same(&basis) => {}
                // Something has changed during the waits.
                Ok(_) => continue,
                Err(outcome) => return Ok(outcome),
            }
            let begun = Change::begin(context, &lock, record, host.clone()).await?;
            let Some(change) = begun else {
                return Ok(Outcome::Unchanged);
            };
            return Ok(self.apply(change, &basis, additions).await);
        }
    }

    /// Compares the annotation and the record. Without a basis, the round ends with the outcome: the
    /// pod is unknown, has another sandbox, or has an invalid annotation, and keeps what it has.
    fn basis(&self, record: &Record) -> Result<Basis, Outcome> {
        let context = self.context;
        let planned = &record.planned;
        let PodRef {
            namespace, name, ..
        } = &planned.pod;
        let is_newest = context.ledger.is_newest(planned, &context.node.boot_id);
        let pod = context.node.store.pod(namespace, name);
        let is_same = |pod: &Arc<Pod>| {
            pod.matches_uid(&planned.pod.uid) && !pod.is_static() && !planned.pod.is_static
        };
        let pod = pod.filter(is_same).ok_or(Outcome::Unchanged)?;
        if !record.is_attached() || !is_newest {
            return Err(Outcome::Unchanged);
        }
        let annotation = pod.annotations.get(NETWORKS).map(String::as_str);
        let elements = selection::parse(annotation.unwrap_or_default(), namespace);
        let elements = elements.map_err(|error| {
            let text = format!(
                "annotation {NETWORKS}: {error}; the running pod keeps its networks until the annotation is corrected"
            );
            self.event(&planned.pod, EventReason::InvalidNetworks, text.clone());
            Outcome::Refused(text)
        })?;
        let unfinished = record.unfinished_changes();
        let attached = record
            .current()
            .filter(|(index, _)| !unfinished.contains(index));
        Ok(Basis {
            difference: Difference::of(attached, &elements),
            annotation: annotation.map(str::to_owned),
            elements,
            record: (planned.created_unix_ms, planned.revision),
        })
    }

    async fn apply(
        &self,
        mut change: Change<'_>,
        basis: &Basis,
        additions: Additions<'_>,
    ) -> Outcome {
        let start = Instant::now();
        let pod = change.record().planned.pod.clone();
        self.report_ignored(change.record(), basis);
        let mut outcome = Outcome::Changed;
        let mut failures = change.clean_up().await;
        let detach: Vec<_> = basis.difference.detach.iter().rev().copied().collect();
        failures.extend(change.detach(&detach).await);
        for error in failures {
            let text = format!("{error}; plexusd retries");
            self.event(&pod, EventReason::DetachFailed, text);
            outcome = outcome.and(Outcome::Failed(error.to_string()));
        }
        let (planned, refused) = self.plan(&mut change, basis, additions).await;
        outcome = outcome.and(refused);
        let attach = planned.len();
        if attach > 0 {
            // A DEL, the next plexusd or a later annotation must not wait for all of them.
            let attached = change
                .attach(planned, || self.is_current(&pod, basis))
                .await;
            let results = attached.unwrap_or_else(|error| vec![Err(error.into())]);
            if results.len() < attach {
                let text = "the annotation has changed, or plexusd stops, before all networks were attached";
                outcome = outcome.and(Outcome::Failed(text.to_owned()));
            }
            for error in results.into_iter().filter_map(Result::err) {
                // Whatever the code: only a plugin knows whether a retry can succeed.
                outcome = outcome.and(self.report_retry(&pod, &error));
            }
        }
        change.finish().await;
        tracing::info!(
            %pod, detach = detach.len(), attach, outcome = outcome.as_str(),
            ms = start.elapsed().as_millis(), "the networks of a running pod were changed"
        );
        outcome
    }

    /// Whether the pod still has the annotation of `basis`, and plexusd is not stopping.
    fn is_current(&self, pod: &PodRef, basis: &Basis) -> bool {
        let current = self.context.node.store.pod(&pod.namespace, &pod.name);
        let is_same = |current: Arc<Pod>| {
            current.matches_uid(&pod.uid)
                && current.annotations.get(NETWORKS) == basis.annotation.as_ref()
        };
        !self.limits.cancel.is_cancelled() && current.is_some_and(is_same)
    }

    /// Plans the attachments of the elements without one. A refused element does not affect the others.
    async fn plan(
        &self,
        change: &mut Change<'_>,
        basis: &Basis,
        mut additions: Additions<'_>,
    ) -> (Vec<Attachment>, Outcome) {
        let (mut planned, mut outcome) = (Vec::new(), Outcome::Changed);
        if basis.difference.attach.is_empty() {
            return (planned, outcome);
        }
        let links = change.links().await;
        let record = &change.record().planned;
        let pod = &record.pod;
        let mut taken = match links {
            Ok(links) => links,
            Err(error) => return (planned, self.report_failure(pod, &error)),
        };
        let current = change.record().current();
        let current: Vec<_> = current.map(|(_, attachment)| attachment).collect();
        taken.extend(current.iter().map(|attachment| attachment.ifname.clone()));
        let names = free_ifnames(basis.wanted(), |name| taken.contains(name));
        for (position, (element, ifname)) in basis.wanted().zip(names).enumerate() {
            let attached: Vec<_> = current.iter().copied().chain(&planned).collect();
            let sandbox = (pod, record.container_id.as_str());
            let input = additions.input(position, element, ifname, sandbox, &attached, &taken);
            let addition = match input.await {
                Ok(input) => plan_addition(&input, &attached),
                Err(error) => Err(error.into()),
            };
            let addition = match addition {
                Ok((attachment, warnings)) => {
                    let installed = change.check_installed(&attachment).await;
                    installed.map(|()| (attachment, warnings))
                }
                Err(error) => Err(error),
            };
            match addition {
                Ok((attachment, warnings)) => {
                    for warning in warnings {
                        self.event(pod, warning.kind.into(), warning.text);
                    }
                    taken.insert(attachment.ifname.clone());
                    planned.push(Attachment {
                        interface_requested: element.interface.is_some(),
                        ..attachment
                    });
                }
                Err(error) => outcome = outcome.and(self.report_failure(pod, &error)),
            }
        }
        (planned, outcome)
    }

    /// Emits the event of a network that cannot be planned.
    fn report_failure(&self, pod: &PodRef, error: &CniError) -> Outcome {
        let refusal = EventReason::of_refusal(error);
        // Nothing reports that a plugin is installed.
        if let Some((reason, remedy)) = refusal.filter(|_| !error.is(Code::PluginMissing)) {
            let remedy = if error.is(Code::DeviceMissing) {
                "a running pod gets no further devices: create the pod again"
            } else {
                remedy
            };
            let text = format!("{}; {remedy}", error.msg);
            self.event(pod, reason, text.clone());
            return Outcome::Refused(text);
        }
        self.report_retry(pod, error)
    }

    fn report_retry(&self, pod: &PodRef, error: &CniError) -> Outcome {
        let text = format!("{error}; the pod keeps running, and plexusd retries");
        self.event(pod, EventReason::AttachFailed, text);
        Outcome::Failed(error.to_string())
    }

    /// Reports why the whole round has failed.
    fn report_error(&self, error: &CniError) {
        let text = format!("the networks of the running pod are not changed yet: {error}");
        tracing::warn!(
            container_id = self.key.container_id,
            "{text}; plexusd retries"
        );
        if let Ok(Some(record)) = self.context.ledger.summary(&self.key) {
            let pod = &record.planned.pod;
            self.event(
                pod,
                EventReason::AttachFailed,
                format!("{text}; plexusd retries"),
            );
        }
    }

    /// Reports changes of the annotation that do not take effect.
    fn report_ignored(&self, record: &Record, basis: &Basis) {
        for index in &basis.difference.changed {
            let label = record.planned.attachments[*index].label();
            let text = format!(
                "{label}: the annotation has other parameters now, but the attachment stays as it is; remove the \
                 network from the annotation and add it again"
            );
            self.event(&record.planned.pod, EventReason::NetworkChangeIgnored, text);
        }
    }

    fn event(&self, pod: &PodRef, reason: EventReason, text: String) {
        self.context.reporter.event(pod, reason, text);
    }
}
