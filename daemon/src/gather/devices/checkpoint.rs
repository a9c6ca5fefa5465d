//! The checkpoint of kubelet's device manager, for nodes without the pod-resources socket (D-050).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use plexus_api::json::{Object, RawMap};
use serde::de::DeserializeOwned;

use crate::host::Host;
use crate::regular_file;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// What the checkpoint says about one pod, and about the node.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The IDs of the pod's devices, by resource. No set is empty.
    pub(super) by_resource: BTreeMap<String, BTreeSet<String>>,
    /// The resources of which the node has devices, allocated or not.
    pub(super) node_resources: BTreeSet<String>,
}

/// Reads the checkpoint at `path` on `host`, for the pod with this UID.
///
/// # Errors
/// The file is missing, or cannot be read as a checkpoint.
pub(super) async fn read(host: &Host, path: &Path, uid: &str) -> io::Result<Checkpoint> {
    let path = path.to_owned();
    let bytes = host
        .run(move || regular_file::read(&path, MAX_FILE))
        .await??;
    parse(&bytes, uid).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn parse(bytes: &[u8], uid: &str) -> Result<Checkpoint, String> {
    let file = Object::parse(bytes).map_err(|error| error.to_string())?;
    let data: Object = value(&file, "Data")?;
    let mut checkpoint = Checkpoint {
        by_resource: BTreeMap::new(),
        node_resources: value::<RawMap>(&data, "RegisteredDevices")?
            .into_keys()
            .collect(),
    };
    for entry in value::<Vec<Object>>(&data, "PodDeviceEntries")? {
        if value::<String>(&entry, "PodUID")? != uid {
            continue;
        }
        // By NUMA node: a device can be on several.
        let ids = value::<BTreeMap<String, Option<Vec<String>>>>(&entry, "DeviceIDs")?;
        let ids: BTreeSet<String> = ids.into_values().flatten().flatten().collect();
        if !ids.is_empty() {
            let resource = value(&entry, "ResourceName")?;
            checkpoint
                .by_resource
                .entry(resource)
                .or_default()
                .extend(ids);
        }
    }
    Ok(checkpoint)
}

/// The value of `key`, or the default if it is missing or null.
fn value<T: DeserializeOwned + Default>(object: &Object, key: &str) -> Result<T, String> {
    let value = object.get(key);
    value
        .map(Option::unwrap_or_default)
        .map_err(|_| format!("{key} has another type"))
}
