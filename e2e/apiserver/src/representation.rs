//! Content negotiation: whole objects, or their metadata only.

use serde_json::{Value, json};

use crate::status_error::StatusError;
use crate::target::Target;

/// The form of objects in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Representation {
    /// Whole objects.
    Full,
    /// `PartialObjectMetadata` of this version of `meta.k8s.io`.
    Metadata(String),
}

impl Representation {
    /// The first supported form in the header `Accept`. Metadata only is requested as
    /// `PartialObjectMetadataList` for a list, and as `PartialObjectMetadata` otherwise.
    ///
    /// Tables are not supported: clients that accept nothing else get whole objects, as from an
    /// extension API server.
    ///
    /// # Errors
    /// 406 if no form is supported.
    pub fn negotiate(accept: &str, list: bool) -> Result<Self, StatusError> {
        if accept.trim().is_empty() {
            return Ok(Self::Full);
        }
        let mut tables = false;
        for choice in accept.split(',') {
            let mut parts = choice.split(';').map(str::trim);
            if !matches!(
                parts.next(),
                Some("application/json" | "application/*" | "*/*")
            ) {
                continue;
            }
            let (mut form, mut group, mut version) = ("", "", "");
            for (key, value) in parts.filter_map(|part| part.split_once('=')) {
                match key {
                    "as" => form = value,
                    "g" => group = value,
                    "v" => version = value,
                    _ => {}
                }
            }
            let wanted = if list {
                "PartialObjectMetadataList"
            } else {
                "PartialObjectMetadata"
            };
            match form {
                "" => return Ok(Self::Full),
                "Table" => tables = true,
                form if form == wanted
                    && group == "meta.k8s.io"
                    && matches!(version, "v1" | "v1beta1") =>
                {
                    return Ok(Self::Metadata(version.to_owned()));
                }
                _ => {}
            }
        }
        if tables {
            return Ok(Self::Full);
        }
        Err(StatusError::not_acceptable(
            "only the following media types are accepted: application/json",
        ))
    }

    /// A stored object in this form.
    pub fn object(&self, target: &Target, object: &Value) -> Value {
        match self {
            Self::Full => target.to_requested(object),
            Self::Metadata(version) => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": object["metadata"],
            }),
        }
    }

    /// An item of a list. Items of built-in resources have neither kind nor version.
    pub fn list_item(&self, target: &Target, object: &Value) -> Value {
        let mut item = self.object(target, object);
        if *self == Self::Full
            && !target.resource.custom
            && let Some(fields) = item.as_object_mut()
        {
            fields.remove("kind");
            fields.remove("apiVersion");
        }
        item
    }

    /// A list of items in this form.
    pub fn list(&self, target: &Target, metadata: &Value, items: Vec<Value>) -> Value {
        let (kind, api_version) = match self {
            Self::Full => (
                target.resource.list_kind(),
                target.resource.api_version(&target.version),
            ),
            Self::Metadata(version) => (
                "PartialObjectMetadataList".into(),
                format!("meta.k8s.io/{version}"),
            ),
        };
        // Not in `json!`, which would copy the items.
        let mut list = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        list["items"] = Value::Array(items);
        list
    }

    /// The object of a bookmark. `initial_events_end` marks the end of the initial events.
    pub fn bookmark(
        &self,
        target: &Target,
        resource_version: u64,
        initial_events_end: bool,
    ) -> Value {
        let mut object = json!({"metadata": {"resourceVersion": resource_version.to_string()}});
        if initial_events_end {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        self.object(target, &object)
    }
}
