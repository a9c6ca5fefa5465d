//! Create, update, patch and delete.

use std::sync::Arc;

use serde_json::{Value, json};

use super::refusal::{Cause, Refusal};
use super::store::Store;
use super::target::Target;
use super::{object, patch, strategy};

/// Creates an object.
pub fn create(store: &mut Store, target: &Target, body: Value) -> Result<Arc<Value>, Refusal> {
    let mut object = target.inward(body)?;
    let kind = &target.kind;
    adopt_namespace(target, &mut object)?;
    if kind.namespaced && store.get("namespaces", &target.namespace).is_none() {
        let namespaces = store.kinds.named("namespaces").expect("it is built in");
        return Err(Refusal::not_found(&namespaces, &target.namespace));
    }
    if object::revision(&object) != 0 {
        return Err(Refusal::internal(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    if object::name(&object).is_empty() {
        let prefix = object::meta(&object, "generateName").to_owned();
        if prefix.is_empty() {
            let cause = Cause::required("metadata.name", "name or generateName is required");
            return Err(Refusal::invalid(&kind.group, &kind.name, "", &[cause]));
        }
        object::set_meta(
            &mut object,
            "name",
            format!("{prefix}{}", object::random_suffix()),
        );
    }
    let metadata = object::metadata(&mut object);
    for key in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
        "resourceVersion",
    ] {
        metadata.remove(key);
    }
    metadata.insert("uid".into(), object::new_uid().into());
    metadata.insert("creationTimestamp".into(), object::now().into());
    strategy::prepare_create(kind, &mut object);
    strategy::validate(kind, None, &object)?;
    drop_nulls(&mut object);
    let name = object::name(&object).to_owned();
    let key = target.key_of(&name);
    if store.get(&target.storage(), &key).is_some() {
        return Err(Refusal::already_exists(kind, &name));
    }
    if kind.plural == "customresourcedefinitions" {
        store.kinds.define(&object);
    }
    Ok(store.put(&target.storage(), &key, object))
}

/// Replaces an object.
pub fn update(store: &mut Store, target: &Target, body: Value) -> Result<Arc<Value>, Refusal> {
    let mut new = target.inward(body)?;
    adopt_namespace(target, &mut new)?;
    let old = store
        .get(&target.storage(), &target.key())
        .cloned()
        .ok_or_else(|| target.not_found())?;
    let (given, is) = (object::meta(&new, "uid"), object::meta(&old, "uid"));
    if !given.is_empty() && given != is {
        let why =
            format!("Precondition failed: UID in precondition: {given}, UID in object meta: {is}");
        return Err(Refusal::conflict(&target.kind, &target.name, &why));
    }
    if target.kind.custom && object::meta(&new, "resourceVersion").is_empty() {
        let cause = Cause::invalid(
            "metadata.resourceVersion",
            &json!(0),
            "must be specified for an update",
        );
        return Err(Refusal::invalid(
            &target.kind.group,
            &target.kind.name,
            &target.name,
            &[cause],
        ));
    }
    replace(store, target, &old, new)
}

/// Patches an object with `body`, which is a patch of this type.
pub fn patch(
    store: &mut Store,
    target: &Target,
    media_type: &str,
    body: &[u8],
) -> Result<Arc<Value>, Refusal> {
    // The type counts even where there is no object: a patch of a wrong type is answered 415.
    patch::apply(media_type, target.kind.custom, b"{}", &mut json!({})).or_else(|refusal| {
        match refusal.code {
            415 => Err(refusal),
            _ => Ok(()),
        }
    })?;
    let old = store
        .get(&target.storage(), &target.key())
        .cloned()
        .ok_or_else(|| target.not_found())?;
    let mut new = target.outward(&old);
    patch::apply(media_type, target.kind.custom, body, &mut new)?;
    let mut new = target.inward(new)?;
    adopt_namespace(target, &mut new)?;
    replace(store, target, &old, new)
}

fn replace(
    store: &mut Store,
    target: &Target,
    old: &Arc<Value>,
    mut new: Value,
) -> Result<Arc<Value>, Refusal> {
    let kind = &target.kind;
    let name = object::name(&new);
    if name != target.name {
        let why = format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        );
        return Err(Refusal::bad_request(&why));
    }
    let given = object::meta(&new, "resourceVersion");
    if !given.is_empty() && given != object::meta(old, "resourceVersion") {
        return Err(Refusal::modified(kind, &target.name));
    }
    let mut causes = Vec::new();
    for key in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let given = new["metadata"][key].clone();
        if given.is_null() || given == "" {
            object::keep(&mut new["metadata"], &old["metadata"], key);
        } else if given != old["metadata"][key] {
            causes.push(Cause::invalid(
                &format!("metadata.{key}"),
                &given,
                "field is immutable",
            ));
        }
    }
    if !causes.is_empty() {
        return Err(Refusal::invalid(
            &kind.group,
            &kind.name,
            &target.name,
            &causes,
        ));
    }
    drop_nulls(&mut new);
    for key in ["resourceVersion", "managedFields", "selfLink"] {
        object::keep(&mut new["metadata"], &old["metadata"], key);
    }
    strategy::prepare_update(kind, &target.subresource, old, &mut new);
    strategy::validate(kind, Some(old), &new)?;
    if new == **old {
        return Ok(old.clone());
    }
    if is_finished(&new) {
        let (storage, key) = (target.storage(), target.key());
        store.put(&storage, &key, new);
        return end(store, target, &key);
    }
    if kind.plural == "customresourcedefinitions" {
        store.kinds.define(&new);
    }
    Ok(store.put(&target.storage(), &target.key(), new))
}

/// Deletes an object. The answer is the object while it still ends, else what it last was, and whether it is gone.
pub fn delete(
    store: &mut Store,
    target: &Target,
    options: &Value,
) -> Result<(Arc<Value>, bool), Refusal> {
    let key = target.key();
    let old = store
        .get(&target.storage(), &key)
        .cloned()
        .ok_or_else(|| target.not_found())?;
    for (precondition, field, what) in [
        ("uid", "uid", "UID"),
        ("resourceVersion", "resourceVersion", "ResourceVersion"),
    ] {
        let wanted = options["preconditions"][precondition]
            .as_str()
            .unwrap_or_default();
        let is = object::meta(&old, field);
        if !wanted.is_empty() && wanted != is {
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({is}). The object \
                 might have been deleted and then recreated"
            );
            return Err(Refusal::conflict(&target.kind, &target.name, &why));
        }
    }
    let grace = grace(target, &old, options);
    let held = old["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|finalizers| !finalizers.is_empty());
    if grace == 0 && !held {
        return end(store, target, &key).map(|last| (last, true));
    }
    let pending = old["metadata"]["deletionGracePeriodSeconds"]
        .as_u64()
        .filter(|_| is_ending(&old));
    if pending.is_some_and(|pending| pending <= grace) {
        return Ok((old, false));
    }
    let mut new = (*old).clone();
    if !is_ending(&old) {
        object::set_meta(&mut new, "deletionTimestamp", object::now());
    }
    object::set_meta(&mut new, "deletionGracePeriodSeconds", grace);
    Ok((store.put(&target.storage(), &key, new), false))
}

/// How long an object may take to end: pods that kubelet runs are only marked.
fn grace(target: &Target, object: &Value, options: &Value) -> u64 {
    let ran = matches!(
        object["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    let bound = object["spec"]["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty());
    if target.kind.qualified() != "pods" || ran || !bound {
        return 0;
    }
    let own = &object["spec"]["terminationGracePeriodSeconds"];
    options["gracePeriodSeconds"]
        .as_u64()
        .or(own.as_u64())
        .unwrap_or(30)
}

fn is_ending(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether nothing holds an object that is being deleted.
fn is_finished(object: &Value) -> bool {
    let held = object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|finalizers| !finalizers.is_empty());
    let waits = object["metadata"]["deletionGracePeriodSeconds"]
        .as_u64()
        .is_some_and(|grace| grace > 0);
    is_ending(object) && !held && !waits
}

/// Removes an object, and what cannot be without it.
fn end(store: &mut Store, target: &Target, key: &str) -> Result<Arc<Value>, Refusal> {
    let storage = target.storage();
    match storage.as_str() {
        "namespaces" => remove_all(store, &format!("{key}/"), None),
        "customresourcedefinitions.apiextensions.k8s.io" => {
            if let Some(kind) = store.kinds.named(key) {
                remove_all(store, "", Some(&kind.storage()));
                store.kinds.withdraw(&kind.group, &kind.plural);
            }
        }
        _ => {}
    }
    store
        .remove(&storage, key)
        .ok_or_else(|| target.not_found())
}

fn remove_all(store: &mut Store, prefix: &str, only: Option<&str>) {
    for (storage, key) in store.keys_below(prefix) {
        if only.is_none_or(|only| only == storage) {
            store.remove(&storage, &key);
        }
    }
}

/// Puts the namespace of the path into the object, or refuses another one.
fn adopt_namespace(target: &Target, object: &mut Value) -> Result<(), Refusal> {
    let given = object::namespace(object);
    if given.is_empty() && target.kind.namespaced {
        object::set_meta(object, "namespace", target.namespace.clone());
    } else if given != target.namespace {
        let why =
            "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::bad_request(why));
    }
    Ok(())
}

/// Optional metadata that is given as null, or maps that are empty, are not there.
fn drop_nulls(object: &mut Value) {
    let metadata = object::metadata(object);
    for key in ["annotations", "labels"] {
        if let Some(Value::Object(map)) = metadata.get_mut(key) {
            map.retain(|_, value| !value.is_null());
        }
    }
    metadata.retain(|_, value| {
        !value.is_null()
            && !value.as_object().is_some_and(serde_json::Map::is_empty)
            && !value.as_array().is_some_and(Vec::is_empty)
    });
}
