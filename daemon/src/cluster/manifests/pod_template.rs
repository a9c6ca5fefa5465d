//! Pods in manifests: pods, and the pod templates of workloads.

use plexus_api::json::PathStep;
use serde_json::Value;

use super::objects::{Kind, Object};
use crate::model::Pod;

/// The places of the pod template in a workload.
const TEMPLATES: [&[&str]; 3] = [
    &["spec", "template"],
    &["spec", "jobTemplate", "spec", "template"],
    &["template"],
];

/// A pod, or a pod that a workload would create.
#[derive(Debug, Clone)]
pub(crate) struct PodTemplate {
    /// The kind of the object.
    pub(crate) kind: String,
    /// The pod, with the name and the namespace of the object. Only annotations that are strings
    /// are included.
    pub(crate) pod: Pod,
    /// The path of the annotations in the object.
    pub(crate) annotations: Vec<&'static str>,
}

impl PodTemplate {
    /// The pod of an object. Returns `None` if the object has no pod.
    pub(crate) fn of(object: &Object) -> Option<Self> {
        let value = &object.value;
        let (kind, template): (_, &[_]) = match &object.kind {
            Kind::Pod => ("Pod", &[]),
            Kind::Other { kind, .. } => {
                let mut templates = TEMPLATES.into_iter();
                let template = templates.find(|path| at(value, path).is_some())?;
                (kind.as_str(), template)
            }
            Kind::Definition | Kind::Invalid(_) => return None,
        };
        let metadata = value.get("metadata");
        let text = |key: &str| {
            let text = metadata?.get(key)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let path = [template, &["metadata", "annotations"]].concat();
        let annotations = at(value, &path).and_then(Value::as_object);
        let annotations = annotations.into_iter().flatten();
        let pod = Pod {
            namespace: text("namespace").unwrap_or_else(|| "default".to_owned()),
            name: text("name")
                .or(text("generateName"))
                .unwrap_or_else(|| "?".to_owned()),
            uid: String::new(),
            annotations: annotations
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
        };
        Some(Self {
            kind: kind.to_owned(),
            pod,
            annotations: path,
        })
    }

    /// `Deployment default/web`.
    pub(crate) fn label(&self) -> String {
        format!("{} {}/{}", self.kind, self.pod.namespace, self.pod.name)
    }

    /// The path of an annotation in the object.
    pub(crate) fn path(&self, annotation: &str) -> Vec<PathStep> {
        let path = self.annotations.iter().copied().chain([annotation]);
        path.map(PathStep::from).collect()
    }
}

/// The value at a path of keys.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}
