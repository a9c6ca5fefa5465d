//! The objects in a YAML manifest.

use std::collections::{BTreeMap, BTreeSet};

use plexus_api::shorten;
use serde::Deserialize;
use serde_json::Value;

use super::yaml;
use crate::cluster::definition::{Definition, ParsedConfig, RESOURCE_NAME};
use crate::model::Pod;

/// `apiVersion` and `kind`.
type TypeMetaRef = (&'static str, &'static str);

const POD: TypeMetaRef = ("v1", "Pod");
const DEFINITION: TypeMetaRef = ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition");
/// A list of any kinds, which `kubectl get` prints.
const LIST: TypeMetaRef = ("v1", "List");
const POD_LIST: TypeMetaRef = ("v1", "PodList");
const DEFINITION_LIST: TypeMetaRef = ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinitionList");

/// The pods and definitions of a file.
#[derive(Debug, Default)]
pub(super) struct ManifestObjects {
    pub(super) pods: Vec<Pod>,
    pub(super) definitions: Vec<Definition>,
    /// The kinds of other objects, which are not used.
    pub(super) ignored: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct ManifestObject {
    metadata: Metadata,
    #[serde(default)]
    spec: Option<Value>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, Option<String>>>,
}

/// Parses all documents of a file. An error says where in the file the cause is, in one line.
pub(super) fn parse(text: &str) -> Result<ManifestObjects, String> {
    let mut objects = ManifestObjects::default();
    for (index, document) in yaml::documents(text)?.into_iter().enumerate() {
        objects
            .add(document)
            .map_err(|error| format!("object {}: {error}", index + 1))?;
    }
    Ok(objects)
}

impl ManifestObjects {
    fn add(&mut self, document: Value) -> Result<(), String> {
        if document.is_null() {
            return Ok(());
        }
        let TypeMeta { api_version, kind } =
            TypeMeta::deserialize(&document).map_err(|error| shorten(&error.to_string()))?;
        match (api_version.as_str(), kind.as_str()) {
            POD => self.add_object(&POD, document),
            DEFINITION => self.add_object(&DEFINITION, document),
            LIST => self.add_items(document, None),
            POD_LIST => self.add_items(document, Some(&POD)),
            DEFINITION_LIST => self.add_items(document, Some(&DEFINITION)),
            (_, "") => {
                self.ignored.insert("an object without kind".to_owned());
                Ok(())
            }
            _ => {
                self.ignored
                    .insert(shorten(&format!("{kind} ({api_version})")));
                Ok(())
            }
        }
    }

    /// Adds the items of a list. In a list of one kind, the items need not repeat the kind.
    fn add_items(&mut self, mut list: Value, kind: Option<&TypeMetaRef>) -> Result<(), String> {
        let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) else {
            return Ok(());
        };
        for (index, item) in items.into_iter().enumerate() {
            let added = match kind {
                Some(kind) => self.add_object(kind, item),
                None => self.add(item),
            };
            added.map_err(|error| format!("item {}: {error}", index + 1))?;
        }
        Ok(())
    }

    fn add_object(&mut self, type_meta: &TypeMetaRef, document: Value) -> Result<(), String> {
        let kind = type_meta.1;
        let ManifestObject { metadata, spec } = serde_json::from_value(document)
            .map_err(|error| format!("{kind}: {}", shorten(&error.to_string())))?;
        let Metadata {
            name,
            namespace,
            uid,
            annotations,
        } = metadata;
        let namespace = namespace
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or_else(|| "default".to_owned());
        let mut annotations: BTreeMap<_, _> = annotations
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.unwrap_or_default()))
            .collect();
        if *type_meta == POD {
            self.pods.push(Pod {
                name,
                namespace,
                uid: uid.unwrap_or_default(),
                annotations,
            });
            return Ok(());
        }
        let config = match spec.as_ref().and_then(|spec| spec.get("config")) {
            None | Some(Value::Null) => None,
            Some(Value::String(config)) => Some(config.clone()),
            Some(_) => {
                let name = shorten(&format!("{namespace}/{name}"));
                return Err(format!("{kind} {name}: spec.config must be a string"));
            }
        };
        let resource_name = annotations.remove(RESOURCE_NAME);
        self.definitions.push(Definition {
            namespace,
            name,
            config,
            resource_name,
            created: None,
            parsed: ParsedConfig::default(),
        });
        Ok(())
    }
}
