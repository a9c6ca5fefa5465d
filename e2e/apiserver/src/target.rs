//! A request's resource, found: how its objects are keyed, come in and go out.

use std::sync::Arc;

use serde_json::Value;

use super::events;
use super::kinds::Kind;
use super::path::Path;
use super::refusal::Refusal;
use super::store::Store;

/// The resource, and perhaps the object, of a request.
#[derive(Debug, Clone)]
pub struct Target {
    /// The resource.
    pub kind: Arc<Kind>,
    /// The version in which objects are shown.
    pub version: String,
    /// The namespace, empty for all and for what has none.
    pub namespace: String,
    /// The object's name, empty for a collection.
    pub name: String,
    /// `status`, or empty.
    pub subresource: String,
}

impl Target {
    /// Finds it.
    ///
    /// # Errors
    /// 404 in plain text where nobody serves the path.
    pub fn find(store: &Store, path: &Path) -> Result<Self, Refusal> {
        let kind = store.kinds.find(&path.group, &path.version, &path.resource);
        let kind = kind.ok_or_else(Refusal::no_such_page)?;
        let subresource_known = match path.subresource.as_str() {
            "" => true,
            "status" => kind.status && !path.name.is_empty(),
            _ => false,
        };
        // A namespaced object has no path without its namespace, and what has none has no path in one.
        let scope_fits = if kind.namespaced {
            path.name.is_empty() || !path.namespace.is_empty()
        } else {
            path.namespace.is_empty()
        };
        if !subresource_known || !scope_fits {
            return Err(Refusal::no_such_page());
        }
        Ok(Self {
            kind,
            version: path.version.clone(),
            namespace: path.namespace.clone(),
            name: path.name.clone(),
            subresource: path.subresource.clone(),
        })
    }

    /// Where its objects are stored.
    pub fn storage(&self) -> String {
        self.kind.storage()
    }

    /// The key of its object `name`.
    pub fn key_of(&self, name: &str) -> String {
        if self.namespace.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.namespace)
        }
    }

    /// The key of its object.
    pub fn key(&self) -> String {
        self.key_of(&self.name)
    }

    /// An object as the store has it, from one as this version shows it.
    ///
    /// # Errors
    /// 400 where it is of another kind or version.
    pub fn inward(&self, mut object: Value) -> Result<Value, Refusal> {
        if !object.is_object() {
            return Err(Refusal::bad_request(
                "the object provided is unrecognized: it is no JSON object",
            ));
        }
        let expected = self.kind.api_version(&self.version);
        let given = object["apiVersion"].as_str().unwrap_or(&expected);
        if given != expected {
            let why = format!(
                "the API version in the data ({given}) does not match the expected API version ({expected})"
            );
            return Err(Refusal::bad_request(&why));
        }
        let given = object["kind"].as_str().unwrap_or(&self.kind.name);
        if given != self.kind.name {
            let why = format!(
                "{given} in version {:?} cannot be handled as a {}: converting ({given}) to ({}): unknown conversion",
                self.version, self.kind.name, self.kind.name
            );
            return Err(Refusal::bad_request(&why));
        }
        if self.kind.group == "events.k8s.io" {
            return Ok(events::from_new(object));
        }
        object["kind"] = self.kind.name.clone().into();
        object["apiVersion"] = self.kind.api_version(&self.kind.versions[0]).into();
        Ok(object)
    }

    /// An object as this version shows it.
    pub fn outward(&self, object: &Value) -> Value {
        let mut object = if self.kind.group == "events.k8s.io" {
            events::to_new(object)
        } else {
            object.clone()
        };
        object["kind"] = self.kind.name.clone().into();
        object["apiVersion"] = self.kind.api_version(&self.version).into();
        object
    }

    /// The object is not there.
    pub fn not_found(&self) -> Refusal {
        Refusal::not_found(&self.kind, &self.name)
    }
}
