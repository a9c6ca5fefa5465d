//! In which form a client takes an answer: whole objects, or their metadata alone.

use serde_json::{Value, json};

use super::refusal::Refusal;
use super::target::Target;

/// The form of objects in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// As they are.
    Full,
    /// `PartialObjectMetadata` of this version of `meta.k8s.io`.
    Metadata(String),
}

impl View {
    /// The first form of the header `Accept` that the server can make. For a `list` the metadata is asked for as
    /// `PartialObjectMetadataList`, else as `PartialObjectMetadata`.
    ///
    /// A table is made for nobody: who takes only that gets the plain objects, as from an extension API server.
    ///
    /// # Errors
    /// 406.
    pub fn negotiate(accept: &str, list: bool) -> Result<Self, Refusal> {
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
        let known = "only the following media types are accepted: application/json";
        Err(Refusal::not_acceptable(known))
    }

    /// An object in this form.
    pub fn show(&self, target: &Target, object: &Value) -> Value {
        match self {
            Self::Full => target.outward(object),
            Self::Metadata(version) => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": object["metadata"],
            }),
        }
    }

    /// An object in a list: items of built-in lists do not say what they are.
    pub fn show_item(&self, target: &Target, object: &Value) -> Value {
        let mut item = self.show(target, object);
        if *self == Self::Full
            && !target.kind.custom
            && let Some(members) = item.as_object_mut()
        {
            members.remove("kind");
            members.remove("apiVersion");
        }
        item
    }

    /// A list in this form.
    pub fn show_list(&self, target: &Target, metadata: &Value, items: Vec<Value>) -> Value {
        let (kind, api_version) = match self {
            Self::Full => (
                target.kind.list_kind(),
                target.kind.api_version(&target.version),
            ),
            Self::Metadata(version) => (
                "PartialObjectMetadataList".into(),
                format!("meta.k8s.io/{version}"),
            ),
        };
        // The items move: a list may be large.
        let mut list = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        list["items"] = Value::Array(items);
        list
    }

    /// What a bookmark shows.
    pub fn bookmark(&self, target: &Target, revision: u64, initial_end: bool) -> Value {
        let mut object = json!({"metadata": {"resourceVersion": revision.to_string()}});
        if initial_end {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        self.show(target, &object)
    }
}
