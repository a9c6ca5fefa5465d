//! Direct access to the objects, without the network, tokens, faults and the audit log.
//!
//! A resource is named `pods`, `pods/status` or `network-attachment-definitions.k8s.cni.cncf.io`.
//! The namespace of a cluster-scoped object is empty.

use serde_json::{Value, json};

use super::ApiServer;
use crate::delete::delete;
use crate::status_error::StatusError;
use crate::store::Store;
use crate::target::Target;
use crate::write;

const MERGE_PATCH: &str = "application/merge-patch+json";

impl ApiServer {
    /// Creates an object. Panics on an error response.
    pub fn create(&self, object: &Value) -> Value {
        self.try_create(object)
            .unwrap_or_else(|error| panic!("{error}: {object}"))
    }

    /// Creates an object.
    pub fn try_create(&self, object: &Value) -> Result<Value, StatusError> {
        let mut store = self.state.store();
        let target = Target::from_object(&store.resources, object)?;
        let created = write::create(&mut store, &target, object.clone())?;
        Ok(target.to_requested(&created))
    }

    /// Creates an object or merges it into the existing one, including the status. Panics on an
    /// error response.
    pub fn apply(&self, object: &Value) -> Value {
        self.try_apply(object)
            .unwrap_or_else(|error| panic!("{error}: {object}"))
    }

    fn try_apply(&self, object: &Value) -> Result<Value, StatusError> {
        let mut store = self.state.store();
        let mut target = Target::from_object(&store.resources, object)?;
        if store.get(&target.table(), &target.key()).is_none() {
            write::create(&mut store, &target, object.clone())?;
        }
        let patch = object.to_string();
        let mut applied = write::patch(&mut store, &target, MERGE_PATCH, patch.as_bytes())?;
        if target.resource.has_status && object.get("status").is_some() {
            target.subresource = "status".into();
            applied = write::patch(&mut store, &target, MERGE_PATCH, patch.as_bytes())?;
        }
        Ok(target.to_requested(&applied))
    }

    /// Merges `patch` into an object, or into its status for a resource such as `pods/status`.
    pub fn patch(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, StatusError> {
        let mut store = self.state.store();
        let target = target(&store, resource, namespace, name);
        let patch = patch.to_string();
        let patched = write::patch(&mut store, &target, MERGE_PATCH, patch.as_bytes())?;
        Ok(target.to_requested(&patched))
    }

    /// Deletes an object without a grace period. Returns whether it existed.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) -> bool {
        let mut store = self.state.store();
        let target = target(&store, resource, namespace, name);
        delete(&mut store, &target, &json!({"gracePeriodSeconds": 0})).is_ok()
    }

    /// Reads an object. Returns `None` if it does not exist.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let store = self.state.store();
        let target = target(&store, resource, namespace, name);
        store
            .get(&target.table(), &target.key())
            .map(|object| target.to_requested(object))
    }

    /// All objects of a resource, in all namespaces.
    pub fn list(&self, resource: &str) -> Vec<Value> {
        let store = self.state.store();
        let target = target(&store, resource, "", "");
        store
            .table(&target.table())
            .values()
            .map(|object| target.to_requested(object))
            .collect()
    }

    /// The latest resource version.
    pub fn resource_version(&self) -> u64 {
        self.state.store().resource_version()
    }

    /// Compacts the history: lists and new watches can no longer start at earlier resource
    /// versions. Running watches continue.
    pub fn compact(&self) {
        self.state.store().compact();
    }
}

fn target(store: &Store, resource: &str, namespace: &str, name: &str) -> Target {
    Target::from_name(&store.resources, resource, namespace, name)
        .unwrap_or_else(|| panic!("unknown resource {resource}"))
}
