//! `allowedPluginTypes`.

use std::collections::{BTreeMap, BTreeSet};

use plexus_api::cni::validate_plugin_type;
use serde::Deserialize;

use super::fields::{Fields, FieldsError};

/// The key for namespaces that are not listed.
const OTHERS: &str = "*";

/// The plugin types that definitions may use, by the namespace of the definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedPluginTypes {
    by_namespace: BTreeMap<String, BTreeSet<String>>,
    others: BTreeSet<String>,
}

impl AllowedPluginTypes {
    /// The types for definitions of `namespace`.
    pub fn of(&self, namespace: &str) -> &BTreeSet<String> {
        self.by_namespace.get(namespace).unwrap_or(&self.others)
    }

    /// Returns `None` if all types are allowed.
    pub(super) fn read(fields: &Fields) -> Result<Option<Self>, FieldsError> {
        const KEY: &str = "allowedPluginTypes";
        const ALLOWED: &str = "a list of plugin types, or an object that has such a list for each \
                               namespace and for \"*\"";
        let Some(form) = fields.get::<Form>(KEY, ALLOWED)? else {
            return Ok(None);
        };
        let types = match form {
            Form::Everywhere(others) => Self {
                by_namespace: BTreeMap::new(),
                others,
            },
            Form::ByNamespace(mut by_namespace) => Self {
                others: by_namespace.remove(OTHERS).unwrap_or_default(),
                by_namespace,
            },
        };
        let mut listed = types.by_namespace.values().flatten().chain(&types.others);
        match listed.find(|kind| *kind == "*" || validate_plugin_type(kind).is_err()) {
            Some(invalid) => {
                let allowed = "the type of a plugin; leave out the key to allow all types";
                Err(FieldsError::string(KEY, invalid, allowed))
            }
            None => Ok(Some(types)),
        }
    }
}

#[cfg(test)]
impl AllowedPluginTypes {
    /// The same types for all namespaces.
    pub(crate) fn everywhere<const N: usize>(types: [&str; N]) -> Self {
        Self {
            by_namespace: BTreeMap::new(),
            others: types.map(str::to_owned).into(),
        }
    }

    /// Sets the types for one namespace.
    #[must_use]
    pub(crate) fn with<const N: usize>(mut self, namespace: &str, types: [&str; N]) -> Self {
        let types = types.map(str::to_owned).into();
        self.by_namespace.insert(namespace.to_owned(), types);
        self
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Everywhere(BTreeSet<String>),
    ByNamespace(BTreeMap<String, BTreeSet<String>>),
}
