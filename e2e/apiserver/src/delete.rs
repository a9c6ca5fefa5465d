//! Delete: preconditions, grace periods, finalizers and dependent objects.

use std::sync::Arc;

use serde_json::Value;

use crate::object;
use crate::status_error::StatusError;
use crate::store::Store;
use crate::target::Target;

/// The result of a delete.
pub enum Deleted {
    /// The object still exists and is terminating.
    Terminating(Arc<Value>),
    /// The object was removed; its last state.
    Removed(Arc<Value>),
}

/// Deletes an object according to `DeleteOptions`.
pub fn delete(store: &mut Store, target: &Target, options: &Value) -> Result<Deleted, StatusError> {
    let old = store
        .get(&target.table(), &target.key())
        .cloned()
        .ok_or_else(|| target.not_found())?;
    check_preconditions(target, &old, options)?;
    let grace_period = grace_period(target, &old, options);
    if grace_period == 0 && !has_finalizers(&old) {
        return remove(store, target).map(Deleted::Removed);
    }
    let pending = old["metadata"]["deletionGracePeriodSeconds"]
        .as_u64()
        .filter(|_| is_terminating(&old));
    if pending.is_some_and(|pending| pending <= grace_period) {
        return Ok(Deleted::Terminating(old));
    }
    let mut new = Value::clone(&old);
    if !is_terminating(&old) {
        object::set_metadata(&mut new, "deletionTimestamp", object::timestamp());
    }
    object::set_metadata(&mut new, "deletionGracePeriodSeconds", grace_period);
    let new = store.put(&target.table(), &target.key(), new);
    Ok(Deleted::Terminating(new))
}

fn check_preconditions(
    target: &Target,
    object: &Value,
    options: &Value,
) -> Result<(), StatusError> {
    for (field, name) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        let expected = options["preconditions"][field].as_str().unwrap_or_default();
        let actual = object::metadata_text(object, field);
        if !expected.is_empty() && expected != actual {
            let reason = format!(
                "the {name} in the precondition ({expected}) does not match the {name} in record ({actual}). The \
                 object might have been deleted and then recreated"
            );
            return Err(StatusError::conflict(
                &target.resource,
                &target.name,
                &reason,
            ));
        }
    }
    Ok(())
}

/// The grace period in seconds. It is 0 except for a pod that is bound to a node and has not
/// terminated, which the kubelet removes at the end of the grace period.
fn grace_period(target: &Target, object: &Value, options: &Value) -> u64 {
    let terminated = matches!(
        object["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    let bound = object["spec"]["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty());
    if target.resource.qualified_name() != "pods" || terminated || !bound {
        return 0;
    }
    options["gracePeriodSeconds"]
        .as_u64()
        .or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_u64())
        .unwrap_or(30)
}

fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|finalizers| !finalizers.is_empty())
}

/// Whether the object is terminating and nothing prevents its removal.
pub fn is_complete(object: &Value) -> bool {
    let grace_period = object["metadata"]["deletionGracePeriodSeconds"]
        .as_u64()
        .unwrap_or_default();
    is_terminating(object) && !has_finalizers(object) && grace_period == 0
}

/// Removes an object, including the objects in a namespace and the custom resources of a
/// `CustomResourceDefinition`.
pub fn remove(store: &mut Store, target: &Target) -> Result<Arc<Value>, StatusError> {
    let (table, key) = (target.table(), target.key());
    match table.as_str() {
        "namespaces" => {
            for (table, key) in store.keys_with_prefix(&format!("{key}/")) {
                store.remove(&table, &key);
            }
        }
        "customresourcedefinitions.apiextensions.k8s.io" => {
            if let Some(resource) = store.resources.by_name(&key) {
                let table = resource.table();
                for key in store.table(&table).into_keys() {
                    store.remove(&table, &key);
                }
                store
                    .resources
                    .remove_custom(&resource.group, &resource.plural);
            }
        }
        _ => {}
    }
    store.remove(&table, &key).ok_or_else(|| target.not_found())
}
