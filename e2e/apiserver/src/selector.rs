//! Label and field selectors, and the watch events that result from them.

use serde_json::Value;

use crate::object;
use crate::resources::Resource;
use crate::status_error::StatusError;
use crate::target::Target;

/// Selects the objects of a list or a watch.
#[derive(Debug, Clone)]
pub struct Selector {
    /// Empty for all namespaces.
    namespace: String,
    labels: Vec<LabelRequirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Debug, Clone, PartialEq)]
struct LabelRequirement {
    key: String,
    condition: LabelCondition,
}

#[derive(Debug, Clone, PartialEq)]
enum LabelCondition {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

#[derive(Debug, Clone)]
struct FieldRequirement {
    /// A JSON pointer.
    path: &'static str,
    equal: bool,
    value: String,
}

impl Selector {
    /// Parses the selectors of a request.
    ///
    /// # Errors
    /// 400 if a selector is malformed, or if the resource does not support the field label.
    pub fn parse(target: &Target, labels: &str, fields: &str) -> Result<Self, StatusError> {
        let label_error = |error: String| {
            StatusError::bad_request(&format!("unable to parse requirement: {error}"))
        };
        let labels = split_outside_parentheses(labels)
            .map(|text| parse_label_requirement(text).map_err(label_error))
            .collect::<Result<_, _>>()?;
        let fields = fields
            .split(',')
            .filter(|text| !text.is_empty())
            .map(|text| parse_field_requirement(&target.resource, text))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            namespace: target.namespace.clone(),
            labels,
            fields,
        })
    }

    /// Whether there is a label or field selector.
    pub fn has_requirements(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }

    /// Whether `object` is in the namespace and satisfies all requirements.
    pub fn matches(&self, object: &Value) -> bool {
        (self.namespace.is_empty() || self.namespace == object::namespace(object))
            && self.fields.iter().all(|field| field.matches(object))
            && self.labels.iter().all(|label| label.matches(object))
    }

    /// The event that reports a change to a watch with this selector: its type and its object. An
    /// object that is no longer selected is reported in its last selected state. Returns `None` if
    /// the watch does not see the change.
    pub fn watch_event<'a>(
        &self,
        before: Option<&'a Value>,
        after: Option<&'a Value>,
    ) -> Option<(WatchEventType, &'a Value)> {
        let selected = |object: &&Value| self.matches(object);
        match (before.filter(selected), after.filter(selected)) {
            (None, None) => None,
            (None, Some(after)) => Some((WatchEventType::Added, after)),
            (Some(_), Some(after)) => Some((WatchEventType::Modified, after)),
            (Some(before), None) => Some((WatchEventType::Deleted, before)),
        }
    }
}

/// The type of a watch event for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEventType {
    /// The object is selected from now on.
    Added,
    /// The object stays selected.
    Modified,
    /// The object is no longer selected: it was deleted or has changed.
    Deleted,
}

impl WatchEventType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

impl FieldRequirement {
    fn matches(&self, object: &Value) -> bool {
        let value = match object.pointer(self.path) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(value)) => value.to_string(),
            _ if self.path == "/spec/hostNetwork" => "false".into(),
            _ => String::new(),
        };
        (value == self.value) == self.equal
    }
}

impl LabelRequirement {
    fn matches(&self, object: &Value) -> bool {
        let label = object["metadata"]["labels"]
            .get(&self.key)
            .and_then(Value::as_str);
        let number = || label.and_then(|label| label.parse::<i64>().ok());
        match &self.condition {
            LabelCondition::In(values) => {
                label.is_some_and(|label| values.iter().any(|value| value == label))
            }
            LabelCondition::NotIn(values) => {
                label.is_none_or(|label| values.iter().all(|value| value != label))
            }
            LabelCondition::Exists => label.is_some(),
            LabelCondition::Absent => label.is_none(),
            LabelCondition::Greater(bound) => number().is_some_and(|number| number > *bound),
            LabelCondition::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

fn parse_field_requirement(
    resource: &Resource,
    text: &str,
) -> Result<FieldRequirement, StatusError> {
    let split = [("!=", false), ("==", true), ("=", true)]
        .into_iter()
        .filter_map(|(operator, equal)| Some((text.split_once(operator)?, equal)))
        .min_by_key(|((label, _), _)| label.len());
    let Some(((label, value), equal)) = split else {
        return Err(StatusError::bad_request(&format!(
            "invalid selector: '{text}'; can't understand '{text}'"
        )));
    };
    let (label, value) = (label.trim(), value.trim());
    let Some(path) = field_path(resource, label) else {
        let message = if resource.group.is_empty() || resource.custom {
            format!("field label not supported: {label}")
        } else {
            format!(
                "{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            )
        };
        return Err(StatusError::bad_request(&message));
    };
    Ok(FieldRequirement {
        path,
        equal,
        value: value.to_owned(),
    })
}

/// The JSON pointer for a label of a field selector. Returns `None` if the resource does not
/// support the label.
fn field_path(resource: &Resource, label: &str) -> Option<&'static str> {
    let path = match (resource.plural.as_str(), label) {
        (_, "metadata.name") => "/metadata/name",
        (_, "metadata.namespace") if resource.namespaced => "/metadata/namespace",
        ("pods" | "resourceslices", "spec.nodeName") => "/spec/nodeName",
        ("resourceslices", "spec.driver") => "/spec/driver",
        ("pods", "spec.restartPolicy") => "/spec/restartPolicy",
        ("pods", "spec.schedulerName") => "/spec/schedulerName",
        ("pods", "spec.serviceAccountName") => "/spec/serviceAccountName",
        ("pods", "spec.hostNetwork") => "/spec/hostNetwork",
        ("pods" | "namespaces", "status.phase") => "/status/phase",
        ("pods", "status.podIP") => "/status/podIP",
        ("pods", "status.nominatedNodeName") => "/status/nominatedNodeName",
        ("nodes", "spec.unschedulable") => "/spec/unschedulable",
        ("secrets" | "events", "type") => "/type",
        ("events", "reason") => "/reason",
        ("events", "reportingComponent" | "reportingController") => "/reportingComponent",
        ("events", "source") => "/source/component",
        ("events", label) => {
            match label
                .strip_prefix("involvedObject.")
                .or_else(|| label.strip_prefix("regarding."))?
            {
                "kind" => "/involvedObject/kind",
                "namespace" => "/involvedObject/namespace",
                "name" => "/involvedObject/name",
                "uid" => "/involvedObject/uid",
                "apiVersion" => "/involvedObject/apiVersion",
                "resourceVersion" => "/involvedObject/resourceVersion",
                "fieldPath" => "/involvedObject/fieldPath",
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(path)
}

fn parse_label_requirement(text: &str) -> Result<LabelRequirement, String> {
    let text = text.trim();
    let requirement = |key: &str, condition| {
        let key = key.trim();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if key.is_empty() || !key.chars().all(allowed) {
            return Err(format!("invalid label key {key:?}"));
        }
        Ok(LabelRequirement {
            key: key.to_owned(),
            condition,
        })
    };
    if let Some(key) = text.strip_prefix('!') {
        return requirement(key, LabelCondition::Absent);
    }
    if let Some((head, list)) = text.split_once('(') {
        let list = list
            .strip_suffix(')')
            .ok_or_else(|| format!("found '{text}', expected: ',' or ')'"))?;
        let values = list
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        return match head.split_whitespace().collect::<Vec<_>>()[..] {
            [key, "in"] => requirement(key, LabelCondition::In(values)),
            [key, "notin"] => requirement(key, LabelCondition::NotIn(values)),
            _ => Err(format!("found '{head}', expected: in, notin")),
        };
    }
    if let Some((key, value)) = text.split_once("!=") {
        return requirement(key, LabelCondition::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return requirement(key, LabelCondition::In(vec![value.trim().to_owned()]));
    }
    for (operator, greater) in [('>', true), ('<', false)] {
        if let Some((key, bound)) = text.split_once(operator) {
            let bound = bound
                .trim()
                .parse()
                .map_err(|_| format!("values[0][{key}]: Invalid value: {bound:?}"))?;
            return requirement(
                key,
                if greater {
                    LabelCondition::Greater(bound)
                } else {
                    LabelCondition::Less(bound)
                },
            );
        }
    }
    requirement(text, LabelCondition::Exists)
}

/// Splits at commas, except those in parentheses.
fn split_outside_parentheses(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let parts = text.split(move |c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty())
}
