//! Requests for resources: from the verb to the store.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Call, Done};
use super::audit::Ticket;
use super::faults::Befallen;
use super::list::{list, revision};
use super::negotiate::View;
use super::object;
use super::path::Path;
use super::refusal::Refusal;
use super::selector::{Selector, in_namespace};
use super::serve::Connection;
use super::shared::Shared;
use super::store::Store;
use super::target::Target;
use super::watch::{self, Watch};
use super::write;

/// Does what a request for a resource asks.
pub fn resource(
    shared: &Arc<Shared>,
    call: &Call,
    path: &Path,
    befallen: Befallen,
    cut_after: Option<usize>,
    (connection, ticket): (&Connection, &Arc<Ticket>),
) -> Result<Done, Refusal> {
    let selected = call
        .query
        .text("fieldSelector")
        .split(',')
        .find_map(|term| term.strip_prefix("metadata.name="));
    let name = if path.name.is_empty() {
        selected.unwrap_or_default()
    } else {
        &path.name
    };
    shared
        .access()
        .authorize(&befallen.user, call.verb, path, name)?;
    let target = Target::find(&shared.store(), path)?;
    let view = View::negotiate(&call.accept, call.verb == "list")?;
    if call.verb != "watch" {
        return perform(&mut shared.store(), call, &target, &view);
    }
    let mut fields = call.query.text("fieldSelector").to_owned();
    if !path.name.is_empty() {
        fields = format!("{fields},metadata.name={}", path.name);
    }
    let selector = Selector::new(&target.kind, call.query.text("labelSelector"), &fields)?;
    let request = watch::Request {
        target,
        selector,
        view,
        befallen,
        cut_after,
    };
    let watch = Watch::start(
        shared,
        request,
        &call.query,
        connection.clone(),
        ticket.clone(),
    )?;
    Ok(Done::Stream(Box::new(watch)))
}

fn perform(store: &mut Store, call: &Call, target: &Target, view: &View) -> Result<Done, Refusal> {
    let in_scope = !target.kind.namespaced || !target.namespace.is_empty();
    let ok = |object: &Value| Ok(Done::Document(StatusCode::OK, view.show(target, object)));
    if !matches!(call.verb, "get" | "list") && !call.query.text("dryRun").is_empty() {
        return Err(Refusal::bad_request("dryRun is not served here"));
    }
    match (
        call.verb,
        target.name.is_empty(),
        target.subresource.as_str(),
    ) {
        ("get", false, _) => {
            let (asked, current) = (
                revision(call.query.text("resourceVersion"))?,
                store.revision(),
            );
            if asked > current {
                return Err(Refusal::too_large_resource_version(asked, current));
            }
            ok(store
                .get(&target.storage(), &target.key())
                .ok_or_else(|| target.not_found())?)
        }
        ("list", ..) => {
            let selector = selector(call, target)?;
            let list = list(store, target, &selector, &call.query, view)?;
            Ok(Done::Document(StatusCode::OK, list))
        }
        ("create", true, _) if in_scope => {
            let object = write::create(store, target, document(call)?)?;
            Ok(Done::Document(
                StatusCode::CREATED,
                view.show(target, &object),
            ))
        }
        ("update", false, _) => ok(&*write::update(store, target, document(call)?)?),
        ("patch", false, _) => ok(&*write::patch(store, target, &call.media_type, &call.body)?),
        ("delete", false, "") => {
            let (last, gone) = write::delete(store, target, &delete_options(call)?)?;
            // Pods are shown as they were, everything else is said to be gone.
            if gone && target.kind.plural != "pods" {
                return Ok(Done::Document(StatusCode::OK, deleted(target, &last)));
            }
            ok(&last)
        }
        ("deletecollection", true, _) if in_scope => {
            let selector = selector(call, target)?;
            let list = list(store, target, &selector, &call.query, view)?;
            let options = delete_options(call)?;
            let namespace = (!target.namespace.is_empty()).then_some(target.namespace.as_str());
            for object in store.table(&target.storage()).values() {
                if in_namespace(object, namespace) && selector.matches(object) {
                    let one = Target {
                        name: object::name(object).to_owned(),
                        ..target.clone()
                    };
                    write::delete(store, &one, &options)?;
                }
            }
            Ok(Done::Document(StatusCode::OK, list))
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn selector(call: &Call, target: &Target) -> Result<Selector, Refusal> {
    Selector::new(
        &target.kind,
        call.query.text("labelSelector"),
        call.query.text("fieldSelector"),
    )
}

fn document(call: &Call) -> Result<Value, Refusal> {
    if !matches!(call.media_type.as_str(), "" | "application/json") {
        return Err(Refusal::unsupported_media_type("application/json"));
    }
    serde_json::from_slice(&call.body).map_err(|error| {
        Refusal::bad_request(&format!("the object provided is unrecognized: {error}"))
    })
}

fn delete_options(call: &Call) -> Result<Value, Refusal> {
    let mut options = if call.body.is_empty() {
        json!({})
    } else {
        document(call)?
    };
    if let Some(seconds) = call.query.number("gracePeriodSeconds") {
        options["gracePeriodSeconds"] = seconds.into();
    }
    Ok(options)
}

fn deleted(target: &Target, last: &Value) -> Value {
    let mut details =
        json!({"name": target.name, "kind": target.kind.plural, "uid": object::meta(last, "uid")});
    if !target.kind.group.is_empty() {
        details["group"] = target.kind.group.clone().into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
