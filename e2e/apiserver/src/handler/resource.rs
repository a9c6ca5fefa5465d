//! Requests for resources: authorization, and the operation for the verb.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::audit::AuditGuard;
use crate::delete::{Deleted, delete};
use crate::faults::RequestAttributes;
use crate::list::list;
use crate::network::Connection;
use crate::path::ResourcePath;
use crate::representation::Representation;
use crate::request::ApiRequest;
use crate::response::ApiResponse;
use crate::selector::Selector;
use crate::state::ServerState;
use crate::status_error::StatusError;
use crate::store::Store;
use crate::target::Target;
use crate::watch::{WatchRequest, WatchStream};
use crate::{object, write};

/// The context of a watch: its request and its connection.
pub struct WatchContext {
    pub attributes: RequestAttributes,
    /// The number of events after which a fault closes the connection.
    pub cut_after: Option<usize>,
    pub connection: Connection,
    pub audit: Arc<AuditGuard>,
}

/// Executes a request for a resource.
pub fn handle(
    state: &Arc<ServerState>,
    request: &ApiRequest,
    path: &ResourcePath,
    watch: WatchContext,
) -> Result<ApiResponse, StatusError> {
    let user = &watch.attributes.user;
    let name = requested_name(request, path);
    state.access().authorize(user, request.verb, path, name)?;
    let target = Target::from_path(&state.store().resources, path)?;
    let representation = Representation::negotiate(&request.accept, request.verb == "list")?;
    if request.verb == "watch" {
        return start_watch(state, request, target, representation, watch);
    }
    let operation = Operation {
        request,
        target: &target,
        representation: &representation,
    };
    operation.execute(&mut state.store())
}

/// The name that RBAC rules are checked against, from the path or from a field selector.
fn requested_name<'a>(request: &'a ApiRequest, path: &'a ResourcePath) -> &'a str {
    if !path.name.is_empty() {
        return &path.name;
    }
    request
        .query
        .text("fieldSelector")
        .split(',')
        .find_map(|field| field.strip_prefix("metadata.name="))
        .unwrap_or_default()
}

fn start_watch(
    state: &Arc<ServerState>,
    request: &ApiRequest,
    target: Target,
    representation: Representation,
    context: WatchContext,
) -> Result<ApiResponse, StatusError> {
    let mut fields = request.query.text("fieldSelector").to_owned();
    if !target.name.is_empty() {
        fields = format!("{fields},metadata.name={}", target.name);
    }
    let selector = Selector::parse(&target, request.query.text("labelSelector"), &fields)?;
    let watch = WatchRequest {
        target,
        selector,
        representation,
        attributes: context.attributes,
        cut_after: context.cut_after,
    };
    let query = &request.query;
    let stream = WatchStream::start(state, watch, query, context.connection, context.audit)?;
    Ok(ApiResponse::Stream(stream.into_body()))
}

/// Any request for a resource except a watch.
struct Operation<'a> {
    request: &'a ApiRequest,
    target: &'a Target,
    representation: &'a Representation,
}

impl Operation<'_> {
    fn execute(&self, store: &mut Store) -> Result<ApiResponse, StatusError> {
        let Self {
            request, target, ..
        } = self;
        let read_only = matches!(request.verb, "get" | "list");
        if !read_only && !request.query.text("dryRun").is_empty() {
            return Err(StatusError::bad_request("dryRun is not supported"));
        }
        let collection = target.name.is_empty();
        match request.verb {
            "get" if !collection => self.get(store),
            "list" => self.list(store).map(ApiResponse::ok),
            "create" if collection && target.has_single_scope() => {
                let object = write::create(store, target, request.document()?)?;
                let document = self.representation.object(target, &object);
                Ok(ApiResponse::Document(StatusCode::CREATED, document))
            }
            "update" if !collection => {
                let object = write::update(store, target, request.document()?)?;
                Ok(self.object(&object))
            }
            "patch" if !collection => {
                let object = write::patch(store, target, &request.media_type, &request.body)?;
                Ok(self.object(&object))
            }
            "delete" if !collection && target.subresource.is_empty() => self.delete(store),
            "deletecollection" if collection && target.has_single_scope() => {
                self.delete_collection(store)
            }
            _ => Err(StatusError::method_not_allowed()),
        }
    }

    fn get(&self, store: &Store) -> Result<ApiResponse, StatusError> {
        let requested = self.request.query.resource_version()?;
        let current = store.resource_version();
        if requested > current {
            return Err(StatusError::too_large_resource_version(requested, current));
        }
        let object = store
            .get(&self.target.table(), &self.target.key())
            .ok_or_else(|| self.target.not_found())?;
        Ok(self.object(object))
    }

    fn list(&self, store: &Store) -> Result<Value, StatusError> {
        list(
            store,
            self.target,
            &self.selector()?,
            &self.request.query,
            self.representation,
        )
    }

    fn delete(&self, store: &mut Store) -> Result<ApiResponse, StatusError> {
        match delete(store, self.target, &self.request.delete_options()?)? {
            // The response has a removed pod itself, but only a `Status` for other objects.
            Deleted::Removed(last) if self.target.resource.plural != "pods" => {
                Ok(ApiResponse::ok(removed_status(self.target, &last)))
            }
            Deleted::Removed(object) | Deleted::Terminating(object) => Ok(self.object(&object)),
        }
    }

    fn delete_collection(&self, store: &mut Store) -> Result<ApiResponse, StatusError> {
        let selector = self.selector()?;
        let list = self.list(store)?;
        let options = self.request.delete_options()?;
        for object in store.table(&self.target.table()).values() {
            if selector.matches(object) {
                let target = Target {
                    name: object::name(object).to_owned(),
                    ..self.target.clone()
                };
                delete(store, &target, &options)?;
            }
        }
        Ok(ApiResponse::ok(list))
    }

    fn selector(&self) -> Result<Selector, StatusError> {
        Selector::parse(
            self.target,
            self.request.query.text("labelSelector"),
            self.request.query.text("fieldSelector"),
        )
    }

    fn object(&self, object: &Value) -> ApiResponse {
        ApiResponse::ok(self.representation.object(self.target, object))
    }
}

fn removed_status(target: &Target, last: &Value) -> Value {
    let resource = &target.resource;
    let uid = object::metadata_text(last, "uid");
    let mut details = json!({"name": target.name, "kind": resource.plural, "uid": uid});
    if !resource.group.is_empty() {
        details["group"] = resource.group.clone().into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
