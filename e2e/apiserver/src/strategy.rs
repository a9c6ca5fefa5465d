//! What the server does with objects of particular kinds when they are written: defaults, what stays as it was, and
//! what is refused.

use serde_json::{Value, json};

use super::kinds::Kind;
use super::refusal::{Cause, Refusal};
use super::{events, kinds, object};

/// How large all annotations of an object may be together.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// Prepares an object that is created: its status is the server's.
pub fn prepare_create(kind: &Kind, object: &mut Value) {
    if kind.status
        && let Some(members) = object.as_object_mut()
    {
        members.remove("status");
    }
    match kind.plural.as_str() {
        _ if kind.custom => {}
        "pods" => {
            default(object, "spec", "restartPolicy", &json!("Always"));
            default(object, "spec", "dnsPolicy", &json!("ClusterFirst"));
            default(object, "spec", "schedulerName", &json!("default-scheduler"));
            default(object, "spec", "serviceAccountName", &json!("default"));
            default(object, "spec", "terminationGracePeriodSeconds", &json!(30));
            object["status"] = json!({"phase": "Pending", "qosClass": "BestEffort"});
        }
        "namespaces" => {
            let name = object::name(object).to_owned();
            let labels = object::metadata(object)
                .entry("labels")
                .or_insert_with(|| json!({}));
            labels["kubernetes.io/metadata.name"] = name.into();
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            object["status"] = json!({"phase": "Active"});
        }
        "customresourcedefinitions" => {
            let now = object::now();
            let condition =
                |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
            object["status"] = json!({
                "acceptedNames": object["spec"]["names"],
                "conditions": [condition("NamesAccepted"), condition("Established")],
            });
        }
        _ => {}
    }
    drop_empty_taints(kind, object);
    if has_generation(kind) {
        object::set_meta(object, "generation", 1);
    }
}

/// Prepares an object that takes the place of `old`: who writes the object does not write its status, and the other
/// way round.
pub fn prepare_update(kind: &Kind, subresource: &str, old: &Value, new: &mut Value) {
    if subresource == "status" {
        if kind.custom {
            let status = new.get("status").cloned();
            *new = old.clone();
            object::keep(new, &json!({"status": status}), "status");
        } else {
            // Everything but the metadata and the status, and of the metadata the owners.
            object::keep(new, old, "spec");
            let owners = json!({"ownerReferences": old["metadata"]["ownerReferences"]});
            if owners["ownerReferences"].is_null() {
                object::metadata(new).remove("ownerReferences");
            } else {
                object::keep(&mut new["metadata"], &owners, "ownerReferences");
            }
        }
    } else if kind.status {
        object::keep(new, old, "status");
    }
    drop_empty_taints(kind, new);
    object::keep(&mut new["metadata"], &old["metadata"], "generation");
    if has_generation(kind) && new["spec"] != old["spec"] {
        let generation = old["metadata"]["generation"].as_u64().unwrap_or_default() + 1;
        object::set_meta(new, "generation", generation);
    }
}

/// A node whose last taint is removed has none.
fn drop_empty_taints(kind: &Kind, object: &mut Value) {
    if kind.qualified() == "nodes"
        && object["spec"]["taints"]
            .as_array()
            .is_some_and(Vec::is_empty)
    {
        object::section(object, "spec").remove("taints");
    }
}

/// Refuses what may not be stored. `group` is the API group through which it came.
pub fn validate(kind: &Kind, old: Option<&Value>, new: &Value) -> Result<(), Refusal> {
    for field in ["annotations", "labels"] {
        if let Some((key, value)) = not_text(&new["metadata"][field]) {
            let why = format!(
                "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal {value} into Go struct field \
                 ObjectMeta.metadata.{field} of type string (key {key:?})",
                kind.name, kind.versions[0], kind.name
            );
            return Err(Refusal::bad_request(&why));
        }
    }
    let mut causes = Vec::new();
    let name = object::name(new);
    if !is_name(name) {
        let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                   and must start and end with an alphanumeric character";
        causes.push(Cause::invalid("metadata.name", &json!(name), why));
    }
    if size(&new["metadata"]["annotations"]) > ANNOTATIONS_LIMIT {
        causes.push(Cause::too_long("metadata.annotations", ANNOTATIONS_LIMIT));
    }
    match kind.plural.as_str() {
        _ if kind.custom => {}
        "pods" => causes.extend(pod_problems(old, new)),
        "events" if old.is_none() => causes.extend(events::problems(&kind.group, new)),
        "customresourcedefinitions" => causes.extend(definition_problems(new)),
        _ => {}
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid(&kind.group, &kind.name, name, &causes))
    }
}

fn pod_problems(old: Option<&Value>, new: &Value) -> Vec<Cause> {
    if let Some(old) = old {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,\
                   `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
                   existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                   previously negative)";
        let changed = fixed_part(&old["spec"]) != fixed_part(&new["spec"]);
        return if changed {
            vec![Cause::forbidden("spec", why)]
        } else {
            Vec::new()
        };
    }
    let Some(containers) = new["spec"]["containers"]
        .as_array()
        .filter(|containers| !containers.is_empty())
    else {
        return vec![Cause::required("spec.containers", "")];
    };
    let mut causes = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        for field in ["name", "image"] {
            if container[field].as_str().unwrap_or_default().is_empty() {
                causes.push(Cause::required(
                    &format!("spec.containers[{index}].{field}"),
                    "",
                ));
            }
        }
    }
    causes
}

/// What of a pod's spec may not change.
fn fixed_part(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for field in [
        "activeDeadlineSeconds",
        "tolerations",
        "terminationGracePeriodSeconds",
    ] {
        object::keep(&mut spec, &json!({}), field);
    }
    for list in ["containers", "initContainers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            object::keep(container, &json!({}), "image");
        }
    }
    spec
}

fn definition_problems(definition: &Value) -> Vec<Cause> {
    let Some(kind) = kinds::custom(definition) else {
        return vec![Cause::required(
            "spec",
            "group, names, scope and versions are needed",
        )];
    };
    if object::name(definition) == kind.qualified() {
        return Vec::new();
    }
    vec![Cause::invalid(
        "metadata.name",
        &json!(object::name(definition)),
        "must be spec.names.plural+\".\"+spec.group",
    )]
}

fn has_generation(kind: &Kind) -> bool {
    kind.custom || matches!(kind.plural.as_str(), "pods" | "customresourcedefinitions")
}

fn default(object: &mut Value, section: &str, key: &str, value: &Value) {
    object::section(object, section)
        .entry(key)
        .or_insert_with(|| value.clone());
}

/// The first entry of a map that is no text, with the JSON type of its value.
fn not_text(map: &Value) -> Option<(&str, &'static str)> {
    let entries = map.as_object()?;
    entries.iter().find_map(|(key, value)| {
        let kind = match value {
            Value::String(_) | Value::Null => return None,
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        Some((key.as_str(), kind))
    })
}

fn size(map: &Value) -> usize {
    let entries = map.as_object().into_iter().flatten();
    entries
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum()
}

fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253
        && name.split('.').all(|part| {
            part.starts_with(inner)
                && part.ends_with(inner)
                && part.chars().all(|c| inner(c) || c == '-')
        })
}
