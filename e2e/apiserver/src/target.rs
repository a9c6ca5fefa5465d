//! The resource or object that a request addresses, and the conversion between API versions.

use std::sync::Arc;

use serde_json::Value;

use crate::path::ResourcePath;
use crate::resources::{Resource, Resources};
use crate::status_error::StatusError;
use crate::{events, object};

/// The target of a request: a resource, an object, or a subresource of an object.
#[derive(Debug, Clone)]
pub struct Target {
    pub resource: Arc<Resource>,
    /// The API version of the request.
    pub version: String,
    /// The namespace; empty for all namespaces and for resources without one.
    pub namespace: String,
    /// The object's name; empty for a collection.
    pub name: String,
    /// `status`, or empty.
    pub subresource: String,
}

impl Target {
    /// Resolves the path of a request.
    ///
    /// # Errors
    /// 404 in plain text if the path is unknown.
    pub fn from_path(resources: &Resources, path: &ResourcePath) -> Result<Self, StatusError> {
        let resource = resources
            .find(&path.group, &path.version, &path.resource)
            .ok_or_else(StatusError::unknown_path)?;
        let subresource_exists = match path.subresource.as_str() {
            "" => true,
            "status" => resource.has_status && !path.name.is_empty(),
            _ => false,
        };
        // Only collections of a namespaced resource have a path without a namespace.
        let scope_matches = if resource.namespaced {
            path.name.is_empty() || !path.namespace.is_empty()
        } else {
            path.namespace.is_empty()
        };
        if !subresource_exists || !scope_matches {
            return Err(StatusError::unknown_path());
        }
        Ok(Self {
            resource,
            version: path.version.clone(),
            namespace: path.namespace.clone(),
            name: path.name.clone(),
            subresource: path.subresource.clone(),
        })
    }

    /// The target for an object. A missing namespace means `default`.
    ///
    /// # Errors
    /// 404 in plain text if the resource is unknown.
    pub fn from_object(resources: &Resources, object: &Value) -> Result<Self, StatusError> {
        let (resource, version) = resources
            .of_object(object)
            .ok_or_else(StatusError::unknown_path)?;
        let namespace = match object::namespace(object) {
            "" if resource.namespaced => "default",
            namespace => namespace,
        };
        Ok(Self {
            resource,
            version,
            namespace: namespace.to_owned(),
            name: object::name(object).to_owned(),
            subresource: String::new(),
        })
    }

    /// The target for a resource name such as `pods`, `pods/status` or
    /// `network-attachment-definitions.k8s.cni.cncf.io`. Returns `None` if the resource is unknown.
    pub fn from_name(
        resources: &Resources,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Self> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let resource = resources.by_name(resource)?;
        Some(Self {
            version: resource.versions[0].clone(),
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    }

    /// Whether the collection is in a single scope: one namespace, or the cluster for resources
    /// without namespaces.
    pub fn has_single_scope(&self) -> bool {
        !self.resource.namespaced || !self.namespace.is_empty()
    }

    /// The table of the store that holds the objects.
    pub fn table(&self) -> String {
        self.resource.table()
    }

    /// The key of the object.
    pub fn key(&self) -> String {
        self.key_of(&self.name)
    }

    /// The key of the object `name` of this resource and namespace.
    pub fn key_of(&self, name: &str) -> String {
        if self.namespace.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.namespace)
        }
    }

    /// Converts an object from the version of the request to the stored version.
    ///
    /// # Errors
    /// 400 if the object's kind or version is not that of the request.
    pub fn to_stored(&self, mut object: Value) -> Result<Value, StatusError> {
        if !object.is_object() {
            return Err(StatusError::bad_request(
                "the object provided is unrecognized: not a JSON object",
            ));
        }
        let kind = &self.resource.kind;
        let expected = self.resource.api_version(&self.version);
        let given = object["apiVersion"].as_str().unwrap_or(&expected);
        if given != expected {
            return Err(StatusError::bad_request(&format!(
                "the API version in the data ({given}) does not match the expected API version ({expected})"
            )));
        }
        let given = object["kind"].as_str().unwrap_or(kind);
        if given != kind {
            return Err(StatusError::bad_request(&format!(
                "{given} in version {:?} cannot be handled as a {kind}: converting ({given}) to ({kind}): unknown \
                 conversion",
                self.version
            )));
        }
        if self.resource.group == "events.k8s.io" {
            return Ok(events::to_core(object));
        }
        object["kind"] = kind.clone().into();
        object["apiVersion"] = self.resource.api_version(&self.resource.versions[0]).into();
        Ok(object)
    }

    /// Converts a stored object to the version of the request.
    pub fn to_requested(&self, object: &Value) -> Value {
        let mut object = if self.resource.group == "events.k8s.io" {
            events::from_core(object)
        } else {
            object.clone()
        };
        object["kind"] = self.resource.kind.clone().into();
        object["apiVersion"] = self.resource.api_version(&self.version).into();
        object
    }

    /// The error for an object that does not exist.
    pub fn not_found(&self) -> StatusError {
        StatusError::not_found(&self.resource, &self.name)
    }
}
