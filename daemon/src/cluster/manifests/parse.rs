//! The objects in a YAML manifest.

use std::collections::{BTreeMap, BTreeSet};

use plexus_api::shorten;
use serde::Deserialize;
use serde_json::Value;

use super::objects::{self, Kind, Object};
use crate::cluster::definition::{Definition, ParsedConfig, RESOURCE_NAME};
use crate::model::Pod;

/// The pods and definitions of a file.
#[derive(Debug, Default)]
pub(super) struct ManifestObjects {
    pub(super) pods: Vec<Pod>,
    pub(super) definitions: Vec<Definition>,
    /// The kinds of other objects, which are not used.
    pub(super) ignored: BTreeSet<String>,
}

#[derive(Deserialize)]
struct ManifestObject {
    metadata: Metadata,
    #[serde(default)]
    spec: Option<Value>,
}

/// The metadata of an object, with defaults.
struct ObjectMeta {
    name: String,
    namespace: String,
    uid: String,
    annotations: BTreeMap<String, String>,
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
    for object in objects::objects(text).map_err(|error| error.to_string())? {
        let place = object.place();
        objects
            .add(object)
            .map_err(|error| format!("{place}: {error}"))?;
    }
    Ok(objects)
}

impl ManifestObjects {
    fn add(&mut self, object: Object) -> Result<(), String> {
        match object.kind {
            Kind::Pod => self.pods.push(pod(object.value)?),
            Kind::Definition => self.definitions.push(definition(object.value)?),
            Kind::Other { kind, .. } if kind.is_empty() => {
                self.ignored.insert("an object without kind".to_owned());
            }
            Kind::Other { api_version, kind } => {
                self.ignored
                    .insert(shorten(&format!("{kind} ({api_version})")));
            }
            Kind::Invalid(reason) => return Err(reason),
        }
        Ok(())
    }
}

fn pod(object: Value) -> Result<Pod, String> {
    let (metadata, _) = read("Pod", object)?;
    Ok(Pod {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        annotations: metadata.annotations,
    })
}

/// The definition in an object of a manifest.
///
/// # Errors
/// The reason in one line, with the kind of the object.
pub(crate) fn definition(object: Value) -> Result<Definition, String> {
    const KIND: &str = "NetworkAttachmentDefinition";
    let (mut metadata, spec) = read(KIND, object)?;
    let config = match spec.as_ref().and_then(|spec| spec.get("config")) {
        None | Some(Value::Null) => None,
        Some(Value::String(config)) => Some(config.clone()),
        Some(_) => {
            let name = shorten(&format!("{}/{}", metadata.namespace, metadata.name));
            return Err(format!("{KIND} {name}: spec.config must be a string"));
        }
    };
    Ok(Definition {
        resource_name: metadata.annotations.remove(RESOURCE_NAME),
        namespace: metadata.namespace,
        name: metadata.name,
        config,
        uid: String::new(),
        created: None,
        parsed: ParsedConfig::default(),
    })
}

/// The metadata of an object, with defaults, and its `spec`.
fn read(kind: &str, object: Value) -> Result<(ObjectMeta, Option<Value>), String> {
    let ManifestObject { metadata, spec } = serde_json::from_value(object)
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
    let annotations = annotations.unwrap_or_default().into_iter();
    let metadata = ObjectMeta {
        name,
        namespace,
        uid: uid.unwrap_or_default(),
        annotations: annotations
            .map(|(key, value)| (key, value.unwrap_or_default()))
            .collect(),
    };
    Ok((metadata, spec))
}
