//! Per-resource rules for writes: defaults, fields that a write must not change, and validation.

use serde_json::{Value, json};

use crate::field_error::FieldError;
use crate::resources::{self, Resource};
use crate::status_error::StatusError;
use crate::{events, object};

/// The maximum size of all annotations of an object together.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// Prepares an object for creation: drops the status of the client and sets defaults.
pub fn prepare_create(resource: &Resource, object: &mut Value) {
    if resource.has_status
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
    match resource.plural.as_str() {
        _ if resource.custom => {}
        "pods" => {
            set_default(object, "spec", "restartPolicy", &json!("Always"));
            set_default(object, "spec", "dnsPolicy", &json!("ClusterFirst"));
            set_default(object, "spec", "schedulerName", &json!("default-scheduler"));
            set_default(object, "spec", "serviceAccountName", &json!("default"));
            set_default(object, "spec", "terminationGracePeriodSeconds", &json!(30));
            object["status"] = json!({"phase": "Pending", "qosClass": "BestEffort"});
        }
        "namespaces" => {
            let name = object::name(object).to_owned();
            let labels = object::metadata_mut(object)
                .entry("labels")
                .or_insert_with(|| json!({}));
            labels["kubernetes.io/metadata.name"] = name.into();
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            object["status"] = json!({"phase": "Active"});
        }
        "customresourcedefinitions" => {
            let now = object::timestamp();
            let condition =
                |name: &str| json!({"type": name, "status": "True", "lastTransitionTime": now});
            object["status"] = json!({
                "acceptedNames": object["spec"]["names"],
                "conditions": [condition("NamesAccepted"), condition("Established")],
            });
        }
        _ => {}
    }
    drop_empty_taints(resource, object);
    if has_generation(resource) {
        object::set_metadata(object, "generation", 1);
    }
}

/// Prepares an object that replaces `old`. A write to the object does not change its status, and a
/// write to the status changes little else.
pub fn prepare_update(resource: &Resource, subresource: &str, old: &Value, new: &mut Value) {
    if subresource == "status" {
        if resource.custom {
            let status = new.get("status").cloned();
            *new = old.clone();
            object::copy_field(new, &json!({"status": status}), "status");
        } else {
            // The spec and the owners stay; the rest of the metadata may change.
            object::copy_field(new, old, "spec");
            let owners = json!({"ownerReferences": old["metadata"]["ownerReferences"]});
            if owners["ownerReferences"].is_null() {
                object::metadata_mut(new).remove("ownerReferences");
            } else {
                object::copy_field(&mut new["metadata"], &owners, "ownerReferences");
            }
        }
    } else if resource.has_status {
        object::copy_field(new, old, "status");
    }
    drop_empty_taints(resource, new);
    object::copy_field(&mut new["metadata"], &old["metadata"], "generation");
    if has_generation(resource) && new["spec"] != old["spec"] {
        let generation = old["metadata"]["generation"].as_u64().unwrap_or_default() + 1;
        object::set_metadata(new, "generation", generation);
    }
}

/// Drops the taints of a node if the list is empty.
fn drop_empty_taints(resource: &Resource, object: &mut Value) {
    if resource.qualified_name() == "nodes"
        && object["spec"]["taints"]
            .as_array()
            .is_some_and(Vec::is_empty)
    {
        object::section_mut(object, "spec").remove("taints");
    }
}

/// Validates an object before it is stored. `old` is the stored object if there is one.
///
/// # Errors
/// 400 or 422.
pub fn validate(resource: &Resource, old: Option<&Value>, new: &Value) -> Result<(), StatusError> {
    for field in ["annotations", "labels"] {
        if let Some((key, value)) = non_string_entry(&new["metadata"][field]) {
            let message = format!(
                "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal {value} into Go struct field \
                 ObjectMeta.metadata.{field} of type string (key {key:?})",
                resource.kind, resource.versions[0], resource.kind
            );
            return Err(StatusError::bad_request(&message));
        }
    }
    let mut errors = Vec::new();
    let name = object::name(new);
    if !is_dns_subdomain(name) {
        let reason = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                   and must start and end with an alphanumeric character";
        errors.push(FieldError::invalid("metadata.name", &json!(name), reason));
    }
    if total_size(&new["metadata"]["annotations"]) > ANNOTATIONS_LIMIT {
        errors.push(FieldError::too_long(
            "metadata.annotations",
            ANNOTATIONS_LIMIT,
        ));
    }
    match resource.plural.as_str() {
        _ if resource.custom => {}
        "pods" => errors.extend(validate_pod(old, new)),
        "events" if old.is_none() => errors.extend(events::validate(&resource.group, new)),
        "customresourcedefinitions" => errors.extend(validate_crd(new)),
        _ => {}
    }
    StatusError::reject_invalid(&resource.group, &resource.kind, name, &errors)
}

fn validate_pod(old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    if let Some(old) = old {
        let reason = "pod updates may not change fields other than `spec.containers[*].image`,\
                   `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
                   existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                   previously negative)";
        let changed = immutable_part(&old["spec"]) != immutable_part(&new["spec"]);
        return if changed {
            vec![FieldError::forbidden("spec", reason)]
        } else {
            Vec::new()
        };
    }
    let Some(containers) = new["spec"]["containers"]
        .as_array()
        .filter(|containers| !containers.is_empty())
    else {
        return vec![FieldError::required("spec.containers", "")];
    };
    let mut errors = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        for field in ["name", "image"] {
            if container[field].as_str().unwrap_or_default().is_empty() {
                errors.push(FieldError::required(
                    &format!("spec.containers[{index}].{field}"),
                    "",
                ));
            }
        }
    }
    errors
}

/// A pod's spec without the fields that may change.
fn immutable_part(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for field in [
        "activeDeadlineSeconds",
        "tolerations",
        "terminationGracePeriodSeconds",
    ] {
        object::copy_field(&mut spec, &json!({}), field);
    }
    for list in ["containers", "initContainers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            object::copy_field(container, &json!({}), "image");
        }
    }
    spec
}

fn validate_crd(crd: &Value) -> Vec<FieldError> {
    let Some(resource) = resources::from_crd(crd) else {
        return vec![FieldError::required(
            "spec",
            "group, names, scope and versions are required",
        )];
    };
    if object::name(crd) == resource.qualified_name() {
        return Vec::new();
    }
    vec![FieldError::invalid(
        "metadata.name",
        &json!(object::name(crd)),
        "must be spec.names.plural+\".\"+spec.group",
    )]
}

/// Whether the server maintains `metadata.generation`.
fn has_generation(resource: &Resource) -> bool {
    resource.custom
        || matches!(
            resource.plural.as_str(),
            "pods" | "customresourcedefinitions"
        )
}

fn set_default(object: &mut Value, section: &str, key: &str, value: &Value) {
    object::section_mut(object, section)
        .entry(key)
        .or_insert_with(|| value.clone());
}

/// The first entry of a map whose value is not a string, with the JSON type of that value.
fn non_string_entry(map: &Value) -> Option<(&str, &'static str)> {
    let entries = map.as_object()?;
    entries.iter().find_map(|(key, value)| {
        let json_type = match value {
            Value::String(_) | Value::Null => return None,
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        Some((key.as_str(), json_type))
    })
}

/// The total size of the keys and values of a map.
fn total_size(map: &Value) -> usize {
    let entries = map.as_object().into_iter().flatten();
    entries
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum()
}

/// Whether `name` is a DNS subdomain as in RFC 1123.
fn is_dns_subdomain(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253
        && name.split('.').all(|part| {
            part.starts_with(alphanumeric)
                && part.ends_with(alphanumeric)
                && part.chars().all(|c| alphanumeric(c) || c == '-')
        })
}
