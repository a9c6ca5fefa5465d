//! Pods and pod templates.

use plexus_api::cni::CniError;
use plexus_api::json::PathStep;
use plexus_api::selection::{self, DEFAULT_NETWORK, ELEMENT_KEYS, NETWORKS, Selection};
use plexus_api::{quote, shorten};
use serde_json::Value;

use super::finding::{Findings, Reporter, Rule, Severity};
use super::json_text;
use super::source::{Embedded, Source};
use crate::cluster::manifests::{Object, PodTemplate, Position, at};
use crate::gather::{GatherError, Offline};
use crate::model::Pod;
use crate::plan::plan;
use crate::suggest::suggest;

/// The annotations of other programs that are similar to ours.
const OTHER_ANNOTATIONS: [&str; 6] = [
    "k8s.v1.cni.cncf.io/network-status",
    "k8s.v1.cni.cncf.io/networks-status",
    "k8s.v1.cni.cncf.io/policy-for",
    "k8s.v1.cni.cncf.io/resourceName",
    "k8s.v1.cni.cncf.io/device-info",
    "k8s.v1.cni.cncf.io/net-attach-def",
];

/// The kinds whose own annotations are not those of their pods.
const WORKLOADS: [&str; 7] = [
    "CronJob",
    "DaemonSet",
    "Deployment",
    "Job",
    "ReplicaSet",
    "ReplicationController",
    "StatefulSet",
];

/// A pod or a pod template that selects networks.
#[derive(Debug)]
pub(super) struct SelectingPod<'a> {
    pub(super) source: &'a Source,
    object: &'a Object,
    template: PodTemplate,
    label: String,
}

impl SelectingPod<'_> {
    fn pod(&self) -> &Pod {
        &self.template.pod
    }

    /// An annotation in its file.
    fn text(&self, annotation: &str) -> Embedded<'_> {
        let path = self.object.path(&self.template.path(annotation));
        let text = self.pod().annotations.get(annotation);
        let text = text.map(String::as_str).unwrap_or_default();
        Embedded::string(self.source, self.object.document, path, text)
    }
}

/// The pod of an object, if its annotations select networks. The annotations may be invalid.
pub(super) fn find<'a>(
    findings: &mut Findings,
    source: &'a Source,
    object: &'a Object,
) -> Option<SelectingPod<'a>> {
    let template = PodTemplate::of(object)?;
    let mut found = SelectingPod {
        source,
        object,
        label: template.label(),
        template,
    };
    if WORKLOADS.contains(&found.template.kind.as_str()) {
        found.check_placement(findings);
    }
    let annotations = at(&object.value, &found.template.annotations).and_then(Value::as_object);
    for (key, value) in annotations.into_iter().flatten() {
        if is_selecting(key) {
            found.check_type(findings, key, value);
        } else {
            found.check_name(findings, key);
        }
    }
    let annotations = &mut found.template.pod.annotations;
    annotations.retain(|key, text| is_selecting(key) && !text.trim().is_empty());
    (!annotations.is_empty()).then_some(found)
}

fn is_selecting(annotation: &str) -> bool {
    [NETWORKS, DEFAULT_NETWORK].contains(&annotation)
}

impl SelectingPod<'_> {
    fn add(&self, findings: &mut Findings, kind: (Severity, Rule), position: Position, text: &str) {
        let text = format!("{}: {text}", self.label);
        findings.add(kind, &self.source.name, position, text);
    }

    /// Reports an annotation of a workload that its pods do not get.
    fn check_placement(&self, findings: &mut Findings) {
        let object = self.object;
        for annotation in [NETWORKS, DEFAULT_NETWORK] {
            let path = ["metadata", "annotations", annotation];
            let template = at(&object.value, &self.template.annotations);
            let is_in_template = template.is_some_and(|found| found.get(annotation).is_some());
            if at(&object.value, &path).is_none() || is_in_template {
                continue;
            }
            let path = object.path(&path.map(PathStep::from));
            let text = format!(
                "the annotation {annotation:?} is on the workload, so its pods do not get it; move it to {}",
                self.template.annotations.join(".")
            );
            let position = self.source.key(object.document, &path);
            self.add(findings, (Severity::Error, Rule::Manifest), position, &text);
        }
    }

    /// Reports an annotation that is not a string.
    fn check_type(&self, findings: &mut Findings, key: &str, value: &Value) {
        if value.is_string() || value.is_null() {
            return;
        }
        let text = format!(
            "annotation {key:?} is {}, but must be a string; put it in quotes, or in the lines after `|`",
            shorten(&value.to_string())
        );
        let path = self.object.path(&self.template.path(key));
        let position = self.source.value(self.object.document, &path);
        self.add(
            findings,
            (Severity::Error, Rule::Annotation),
            position,
            &text,
        );
    }

    /// Reports a misspelled name of an annotation.
    fn check_name(&self, findings: &mut Findings, key: &str) {
        if OTHER_ANNOTATIONS.contains(&key) {
            return;
        }
        if let Some(known) = suggest(key, [NETWORKS, DEFAULT_NETWORK]) {
            let text = format!(
                "the annotation {} has no effect; did you mean {known:?}?",
                quote(key)
            );
            let path = self.object.path(&self.template.path(key));
            let position = self.source.key(self.object.document, &path);
            self.add(
                findings,
                (Severity::Warning, Rule::UnknownKey),
                position,
                &text,
            );
        }
    }
}

/// Checks the annotations, and plans the pod with the definitions of all files. A definition may
/// also be in the cluster, so a missing one is no finding.
pub(super) fn check(findings: &mut Findings, found: &SelectingPod<'_>, offline: Offline<'_>) {
    let mut is_valid = true;
    for annotation in [NETWORKS, DEFAULT_NETWORK] {
        let text = found.text(annotation);
        let mut reporter = Reporter {
            findings: &mut *findings,
            text: &text,
            label: &found.label,
        };
        match selection::parse_annotation(annotation, text.text, &found.pod().namespace) {
            Ok(_) => check_keys(&mut reporter),
            Err(source) => {
                is_valid = false;
                let path = &source.path.0;
                let position = if path.is_empty() && text.text.contains(['[', '{', '"']) {
                    text.syntax_error()
                } else {
                    element_position(&text, path)
                };
                let error = GatherError::Annotation { annotation, source };
                reporter.error(Rule::Annotation, position, &error.to_string());
            }
        }
    }
    if !is_valid {
        return;
    }
    let text = found.text(NETWORKS);
    let mut reporter = Reporter {
        findings,
        text: &text,
        label: &found.label,
    };
    let input = match offline.plan_input(found.pod()) {
        Ok(input) => input,
        Err(error) => {
            let position = text.start();
            reporter.error(Rule::Plan, position, &CniError::from(error).msg);
            return;
        }
    };
    let selections: Vec<_> = input.selected.iter().map(|one| &one.selection).collect();
    match plan(&input) {
        Ok(plan) => {
            for warning in plan.warnings {
                let position = network_position(&text, &selections, &warning.text);
                reporter.warning(Rule::Plan, position, &warning.text);
            }
        }
        Err(error) => {
            let position = network_position(&text, &selections, &error.msg);
            reporter.error(Rule::Plan, position, &error.msg);
        }
    }
}

/// Reports keys of elements that are probably misspelled.
fn check_keys(reporter: &mut Reporter<'_, '_>) {
    for (index, element) in json_text::items(reporter.text.text).into_iter().enumerate() {
        for (key, _) in json_text::members(element.get()) {
            if let Some(known) = suggest(&key, ELEMENT_KEYS) {
                let text = format!(
                    "element {} has the unknown key {}, which is ignored; did you mean {known:?}?",
                    index + 1,
                    quote(&key)
                );
                let position = reporter.text.key(&[index.into(), key.as_str().into()]);
                reporter.warning(Rule::UnknownKey, position, &text);
            }
        }
    }
}

/// The position of the element that a message names, or of the annotation.
fn network_position(text: &Embedded<'_>, selections: &[&Selection], message: &str) -> Position {
    let named = selections.iter().rposition(|selection| {
        let network = format!("\"{}/{}\"", selection.namespace, selection.name);
        message.contains(&network)
    });
    match named {
        Some(index) => element_position(text, &[index.into()]),
        None => text.start(),
    }
}

/// The position of a value in an annotation of either form.
fn element_position(text: &Embedded<'_>, path: &[PathStep]) -> Position {
    match path {
        [] => text.start(),
        [PathStep::Item(index)] if !text.text.contains(['[', '{', '"']) => {
            let before: usize = text
                .text
                .split(',')
                .take(*index)
                .map(|item| item.len() + 1)
                .sum();
            let item = text.text.get(before..).unwrap_or_default();
            text.at(before + item.len() - item.trim_start().len())
        }
        path => text.value(path),
    }
}
