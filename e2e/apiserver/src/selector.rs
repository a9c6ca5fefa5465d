//! Label and field selectors.

use serde_json::Value;

use super::kinds::Kind;
use super::object;
use super::refusal::Refusal;

/// Which objects a list or a watch shows.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

#[derive(Debug, Clone)]
struct Term {
    path: &'static str,
    equal: bool,
    value: String,
}

impl Selector {
    /// The selector of a request.
    ///
    /// # Errors
    /// 400 where it cannot be read, or where the resource has no such field label.
    pub fn new(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let label_error =
            |why: String| Refusal::bad_request(&format!("unable to parse requirement: {why}"));
        let labels = split_outside_brackets(labels);
        let labels = labels
            .map(|text| requirement(text).map_err(label_error))
            .collect::<Result<_, _>>()?;
        let fields = fields
            .split(',')
            .filter(|term| !term.is_empty())
            .map(|text| term(kind, text));
        Ok(Self {
            labels,
            fields: fields.collect::<Result<_, _>>()?,
        })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether it selects `object`.
    pub fn matches(&self, object: &Value) -> bool {
        self.fields.iter().all(|term| term.matches(object))
            && self.labels.iter().all(|one| one.matches(object))
    }
}

impl Term {
    fn matches(&self, object: &Value) -> bool {
        let found = match object.pointer(self.path) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(truth)) => truth.to_string(),
            _ if self.path == "/spec/hostNetwork" => "false".into(),
            _ => String::new(),
        };
        (found == self.value) == self.equal
    }
}

impl Requirement {
    fn matches(&self, object: &Value) -> bool {
        let label = object["metadata"]["labels"]
            .get(&self.key)
            .and_then(Value::as_str);
        let number = || label.and_then(|label| label.parse::<i64>().ok());
        match &self.test {
            Test::In(values) => {
                label.is_some_and(|label| values.iter().any(|value| value == label))
            }
            Test::NotIn(values) => {
                label.is_none_or(|label| values.iter().all(|value| value != label))
            }
            Test::Exists => label.is_some(),
            Test::Absent => label.is_none(),
            Test::Greater(bound) => number().is_some_and(|number| number > *bound),
            Test::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

fn term(kind: &Kind, text: &str) -> Result<Term, Refusal> {
    let split = [("!=", false), ("==", true), ("=", true)]
        .into_iter()
        .filter_map(|(operator, equal)| Some((text.split_once(operator)?, equal)))
        .min_by_key(|((label, _), _)| label.len());
    let Some(((label, value), equal)) = split else {
        return Err(Refusal::bad_request(&format!(
            "invalid selector: '{text}'; can't understand '{text}'"
        )));
    };
    let (label, value) = (label.trim(), value.trim());
    let Some(path) = field_path(kind, label) else {
        let message = if kind.group.is_empty() || kind.custom {
            format!("field label not supported: {label}")
        } else {
            format!(
                "{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            )
        };
        return Err(Refusal::bad_request(&message));
    };
    Ok(Term {
        path,
        equal,
        value: value.to_owned(),
    })
}

/// The field that a label of a field selector means.
fn field_path(kind: &Kind, label: &str) -> Option<&'static str> {
    let path = match (kind.plural.as_str(), label) {
        (_, "metadata.name") => "/metadata/name",
        (_, "metadata.namespace") if kind.namespaced => "/metadata/namespace",
        ("pods", "spec.nodeName") => "/spec/nodeName",
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

fn requirement(text: &str) -> Result<Requirement, String> {
    let text = text.trim();
    let of = |key: &str, test| {
        let key = key.trim();
        let letters = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if key.is_empty() || !key.chars().all(letters) {
            return Err(format!("invalid label key {key:?}"));
        }
        Ok(Requirement {
            key: key.to_owned(),
            test,
        })
    };
    if let Some(key) = text.strip_prefix('!') {
        return of(key, Test::Absent);
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
            [key, "in"] => of(key, Test::In(values)),
            [key, "notin"] => of(key, Test::NotIn(values)),
            _ => Err(format!("found '{head}', expected: in, notin")),
        };
    }
    if let Some((key, value)) = text.split_once("!=") {
        return of(key, Test::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return of(key, Test::In(vec![value.trim().to_owned()]));
    }
    for (operator, greater) in [('>', true), ('<', false)] {
        if let Some((key, bound)) = text.split_once(operator) {
            let bound = bound
                .trim()
                .parse()
                .map_err(|_| format!("values[0][{key}]: Invalid value: {bound:?}"))?;
            return of(
                key,
                if greater {
                    Test::Greater(bound)
                } else {
                    Test::Less(bound)
                },
            );
        }
    }
    of(text, Test::Exists)
}

fn split_outside_brackets(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let parts = text.split(move |c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty())
}

/// Whether two states of an object are seen as an addition, a change or the end by who selects so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It begins to be selected.
    Added,
    /// It stays selected.
    Modified,
    /// It is selected no longer, because it changed or went away.
    Deleted,
}

impl Selector {
    /// What a change looks like through this selector, and which state is shown: the last that was selected.
    pub fn see<'a>(
        &self,
        before: Option<&'a Value>,
        after: Option<&'a Value>,
        within: impl Fn(&Value) -> bool,
    ) -> Option<(Seen, &'a Value)> {
        let selected = |object: &&Value| within(object) && self.matches(object);
        match (before.filter(selected), after.filter(selected)) {
            (None, None) => None,
            (None, Some(after)) => Some((Seen::Added, after)),
            (Some(_), Some(after)) => Some((Seen::Modified, after)),
            (Some(before), None) => Some((Seen::Deleted, before)),
        }
    }
}

/// Whether an object is in `namespace`, which is any where it is `None`.
pub fn in_namespace(object: &Value, namespace: Option<&str>) -> bool {
    namespace.is_none_or(|namespace| object::namespace(object) == namespace)
}
