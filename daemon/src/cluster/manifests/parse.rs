//! The objects in a YAML manifest.

use std::collections::BTreeMap;

use plexus_api::shorten;
use serde::Deserialize;

use crate::cluster::definition::{Definition, ParsedConfig, RESOURCE_NAME};
use crate::model::Pod;

const POD: (&str, &str) = ("v1", "Pod");
const DEFINITION: (&str, &str) = ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition");

/// The pods and definitions of a file.
#[derive(Debug, Default)]
pub(super) struct ManifestObjects {
    pub(super) pods: Vec<Pod>,
    pub(super) definitions: Vec<Definition>,
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
    spec: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// Parses all documents of a file. An error says where in the file the cause is, in one line.
pub(super) fn parse(text: &str) -> Result<ManifestObjects, String> {
    // YAML 1.1 takes `n` for a boolean; a definition may have that name.
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| shorten(&error.to_string()))?;
    let mut objects = ManifestObjects::default();
    for (index, document) in documents.into_iter().enumerate() {
        objects
            .add(document)
            .map_err(|error| format!("object {}: {error}", index + 1))?;
    }
    Ok(objects)
}

impl ManifestObjects {
    fn add(&mut self, document: serde_json::Value) -> Result<(), String> {
        let TypeMeta { api_version, kind } =
            TypeMeta::deserialize(&document).map_err(|error| shorten(&error.to_string()))?;
        let type_meta = (api_version.as_str(), kind.as_str());
        let (POD | DEFINITION) = type_meta else {
            return Ok(());
        };
        let ManifestObject { metadata, spec } = serde_json::from_value(document)
            .map_err(|error| format!("{kind}: {}", shorten(&error.to_string())))?;
        let Metadata {
            name,
            namespace,
            uid,
            annotations,
        } = metadata;
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        let mut annotations = annotations.unwrap_or_default();
        if type_meta == POD {
            self.pods.push(Pod {
                name,
                namespace,
                uid: uid.unwrap_or_default(),
                annotations,
            });
            return Ok(());
        }
        let config = match spec.as_ref().and_then(|spec| spec.get("config")) {
            None | Some(serde_json::Value::Null) => None,
            Some(serde_json::Value::String(config)) => Some(config.clone()),
            Some(_) => {
                return Err(format!(
                    "{kind} {namespace}/{name}: spec.config must be a string"
                ));
            }
        };
        let resource_name = annotations.remove(RESOURCE_NAME);
        self.definitions.push(Definition {
            namespace,
            name,
            config,
            resource_name,
            parsed: ParsedConfig::default(),
        });
        Ok(())
    }
}
