//! `auxiliaryCNIChainName`.

use std::path::PathBuf;

use plexus_api::cni::validate_network_name;

use super::fields::{Fields, FieldsError};

/// A directory of plugin configurations that run for every pod, apart from the default network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuxiliaryChain {
    /// The name of the network.
    pub name: String,
    /// The directory of the configurations, which has the same name.
    pub dir: PathBuf,
}

impl AuxiliaryChain {
    /// The directory is beside the file of `clusterNetwork`, as in Multus, or in
    /// `multusAutoconfigDir`.
    pub(super) fn read(fields: &Fields) -> Result<Option<Self>, FieldsError> {
        const KEY: &str = "auxiliaryCNIChainName";
        let Some(name) = fields.string(KEY)? else {
            return Ok(None);
        };
        if validate_network_name(&name).is_err() {
            let allowed = "a network name: letters, digits, \"_\", \".\" and \"-\"";
            return Err(FieldsError::string(KEY, &name, allowed));
        }
        let cluster_network = fields.string("clusterNetwork")?;
        let parent = match cluster_network.as_deref().map(|path| path.rsplit_once('/')) {
            Some(Some((dir, _))) => Some(PathBuf::from(if dir.is_empty() { "/" } else { dir })),
            Some(None) => None,
            None => fields.optional_path("multusAutoconfigDir")?,
        };
        let Some(parent) = parent else {
            let allowed =
                "used with a clusterNetwork that is a path, or with multusAutoconfigDir alone";
            return Err(FieldsError::string(KEY, &name, allowed));
        };
        let dir = parent.join(&name);
        Ok(Some(Self { name, dir }))
    }
}
