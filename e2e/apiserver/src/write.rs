//! Create, update and patch.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::delete;
use crate::field_error::FieldError;
use crate::status_error::StatusError;
use crate::store::Store;
use crate::target::Target;
use crate::{object, patch, strategy};

/// Creates an object.
pub fn create(store: &mut Store, target: &Target, body: Value) -> Result<Arc<Value>, StatusError> {
    let mut object = target.to_stored(body)?;
    let resource = &target.resource;
    set_namespace(target, &mut object)?;
    if resource.namespaced && store.get("namespaces", &target.namespace).is_none() {
        let namespaces = store
            .resources
            .by_name("namespaces")
            .expect("namespaces must be a built-in resource");
        return Err(StatusError::not_found(&namespaces, &target.namespace));
    }
    if object::resource_version(&object) != 0 {
        return Err(StatusError::internal(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    generate_name(target, &mut object)?;
    let metadata = object::metadata_mut(&mut object);
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
        "resourceVersion",
    ] {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), object::new_uid().into());
    metadata.insert("creationTimestamp".into(), object::timestamp().into());
    strategy::prepare_create(resource, &mut object);
    strategy::validate(resource, None, &object)?;
    drop_empty_metadata(&mut object);
    let name = object::name(&object);
    let key = target.key_of(name);
    if store.get(&target.table(), &key).is_some() {
        return Err(StatusError::already_exists(resource, name));
    }
    if resource.plural == "customresourcedefinitions" {
        store.resources.add_custom(&object);
    }
    Ok(store.put(&target.table(), &key, object))
}

/// Sets the name of an object that has only `generateName`.
fn generate_name(target: &Target, object: &mut Value) -> Result<(), StatusError> {
    if !object::name(object).is_empty() {
        return Ok(());
    }
    let prefix = object::metadata_text(object, "generateName");
    if prefix.is_empty() {
        let error = FieldError::required("metadata.name", "name or generateName is required");
        return Err(invalid(target, "", &[error]));
    }
    let name = format!("{prefix}{}", object::random_suffix());
    object::set_metadata(object, "name", name);
    Ok(())
}

/// Replaces an object.
pub fn update(store: &mut Store, target: &Target, body: Value) -> Result<Arc<Value>, StatusError> {
    let mut new = target.to_stored(body)?;
    set_namespace(target, &mut new)?;
    let old = stored(store, target)?;
    let uid = object::metadata_text(&new, "uid");
    let old_uid = object::metadata_text(&old, "uid");
    if !uid.is_empty() && uid != old_uid {
        let reason = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {old_uid}"
        );
        return Err(StatusError::conflict(
            &target.resource,
            &target.name,
            &reason,
        ));
    }
    if target.resource.custom && object::metadata_text(&new, "resourceVersion").is_empty() {
        let error = FieldError::invalid(
            "metadata.resourceVersion",
            &json!(0),
            "must be specified for an update",
        );
        return Err(invalid(target, &target.name, &[error]));
    }
    replace(store, target, &old, new)
}

/// Applies a patch of this media type to an object.
pub fn patch(
    store: &mut Store,
    target: &Target,
    media_type: &str,
    body: &[u8],
) -> Result<Arc<Value>, StatusError> {
    // An unsupported media type is reported even if the object does not exist.
    let custom = target.resource.custom;
    if let Err(error) = patch::apply(media_type, custom, b"{}", &mut json!({}))
        && error.code == 415
    {
        return Err(error);
    }
    let old = stored(store, target)?;
    let mut new = target.to_requested(&old);
    patch::apply(media_type, custom, body, &mut new)?;
    let mut new = target.to_stored(new)?;
    set_namespace(target, &mut new)?;
    replace(store, target, &old, new)
}

/// Stores `new` in place of `old` after all checks.
fn replace(
    store: &mut Store,
    target: &Target,
    old: &Arc<Value>,
    mut new: Value,
) -> Result<Arc<Value>, StatusError> {
    let resource = &target.resource;
    let name = object::name(&new);
    if name != target.name {
        return Err(StatusError::bad_request(&format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    let resource_version = object::metadata_text(&new, "resourceVersion");
    if !resource_version.is_empty()
        && resource_version != object::metadata_text(old, "resourceVersion")
    {
        return Err(StatusError::modified(resource, &target.name));
    }
    keep_immutable_metadata(target, old, &mut new)?;
    drop_empty_metadata(&mut new);
    for field in ["resourceVersion", "managedFields", "selfLink"] {
        object::copy_field(&mut new["metadata"], &old["metadata"], field);
    }
    strategy::prepare_update(resource, &target.subresource, old, &mut new);
    strategy::validate(resource, Some(old), &new)?;
    if new == **old {
        return Ok(old.clone());
    }
    if delete::is_complete(&new) {
        store.put(&target.table(), &target.key(), new);
        return delete::remove(store, target);
    }
    if resource.plural == "customresourcedefinitions" {
        store.resources.add_custom(&new);
    }
    Ok(store.put(&target.table(), &target.key(), new))
}

/// Copies immutable metadata that is missing in `new` from `old`, and refuses changes to it.
fn keep_immutable_metadata(
    target: &Target,
    old: &Value,
    new: &mut Value,
) -> Result<(), StatusError> {
    let mut errors = Vec::new();
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let value = &new["metadata"][field];
        if value.is_null() || value == "" {
            object::copy_field(&mut new["metadata"], &old["metadata"], field);
        } else if *value != old["metadata"][field] {
            errors.push(FieldError::invalid(
                &format!("metadata.{field}"),
                value,
                "field is immutable",
            ));
        }
    }
    let resource = &target.resource;
    StatusError::reject_invalid(&resource.group, &resource.kind, &target.name, &errors)
}

fn stored(store: &Store, target: &Target) -> Result<Arc<Value>, StatusError> {
    store
        .get(&target.table(), &target.key())
        .cloned()
        .ok_or_else(|| target.not_found())
}

fn invalid(target: &Target, name: &str, errors: &[FieldError]) -> StatusError {
    StatusError::invalid(&target.resource.group, &target.resource.kind, name, errors)
}

/// Sets the namespace of the object to that of the path.
///
/// # Errors
/// 400 if the object has another namespace.
fn set_namespace(target: &Target, object: &mut Value) -> Result<(), StatusError> {
    let namespace = object::namespace(object);
    if namespace.is_empty() && target.resource.namespaced {
        object::set_metadata(object, "namespace", target.namespace.clone());
    } else if namespace != target.namespace {
        return Err(StatusError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Drops metadata that is null or empty, and null annotations and labels.
fn drop_empty_metadata(object: &mut Value) {
    let metadata = object::metadata_mut(object);
    for field in ["annotations", "labels"] {
        if let Some(Value::Object(map)) = metadata.get_mut(field) {
            map.retain(|_, value| !value.is_null());
        }
    }
    metadata.retain(|_, value| {
        !value.is_null()
            && !value.as_object().is_some_and(Map::is_empty)
            && !value.as_array().is_some_and(Vec::is_empty)
    });
}
