//! The Kubernetes objects in a manifest, each with its place in the file.

use plexus_api::json::PathStep;
use plexus_api::shorten;
use serde::Deserialize;
use serde_json::Value;

use super::yaml::{self, YamlError};

/// An object of a manifest.
#[derive(Debug)]
pub(crate) struct Object {
    /// The index of the document in the file.
    pub(crate) document: usize,
    /// The index of the object in each of the lists around it.
    items: Vec<usize>,
    pub(crate) kind: Kind,
    pub(crate) value: Value,
}

/// The kind of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Pod,
    Definition,
    /// Another kind. Both strings are empty if the object has none.
    Other {
        api_version: String,
        kind: String,
    },
    /// Not an object of Kubernetes: the reason in one line.
    Invalid(String),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TypeMeta {
    api_version: String,
    kind: String,
}

/// A group with its version, and its kind of lists.
const DEFINITION_GROUP: &str = "k8s.cni.cncf.io/v1";

impl Object {
    /// The place in the file, for messages: `object 1: item 2`.
    pub(super) fn place(&self) -> String {
        let items = self
            .items
            .iter()
            .map(|index| format!(": item {}", index + 1));
        format!("object {}{}", self.document + 1, items.collect::<String>())
    }

    /// The path from the document to a value of the object.
    pub(crate) fn path(&self, path: &[PathStep]) -> Vec<PathStep> {
        let items = self.items.iter();
        items
            .flat_map(|index| ["items".into(), (*index).into()])
            .chain(path.iter().cloned())
            .collect()
    }
}

/// The objects of a file. Lists are replaced by their items, and empty documents are left out.
pub(crate) fn objects(text: &str) -> Result<Vec<Object>, YamlError> {
    let mut objects = Vec::new();
    for (document, value) in yaml::documents(text)?.into_iter().enumerate() {
        add(&mut objects, document, Vec::new(), value, None);
    }
    Ok(objects)
}

/// Adds an object or the items of a list. In a list of one kind, the items need not repeat their
/// kind.
fn add(
    objects: &mut Vec<Object>,
    document: usize,
    items: Vec<usize>,
    mut value: Value,
    kind: Option<&Kind>,
) {
    if value.is_null() {
        return;
    }
    let found = match (kind, TypeMeta::deserialize(&value)) {
        (Some(kind), _) => kind.clone(),
        (None, Err(error)) => Kind::Invalid(shorten(&error.to_string())),
        (None, Ok(TypeMeta { api_version, kind })) => match (api_version.as_str(), kind.as_str()) {
            ("v1", "Pod") => Kind::Pod,
            (DEFINITION_GROUP, "NetworkAttachmentDefinition") => Kind::Definition,
            _ => Kind::Other { api_version, kind },
        },
    };
    let item_kind = match &found {
        Kind::Other { api_version, kind } => match (api_version.as_str(), kind.as_str()) {
            ("v1", "List") => Some(None),
            ("v1", "PodList") => Some(Some(Kind::Pod)),
            (DEFINITION_GROUP, "NetworkAttachmentDefinitionList") => Some(Some(Kind::Definition)),
            _ => None,
        },
        _ => None,
    };
    let Some(item_kind) = item_kind else {
        objects.push(Object {
            document,
            items,
            kind: found,
            value,
        });
        return;
    };
    if let Some(Value::Array(list)) = value.get_mut("items").map(Value::take) {
        for (index, item) in list.into_iter().enumerate() {
            let items = [items.as_slice(), &[index]].concat();
            add(objects, document, items, item, item_kind.as_ref());
        }
    }
}
