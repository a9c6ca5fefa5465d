//! `CNI_ARGS`: a list of the form `KEY=VALUE;KEY=VALUE`.

use super::{CniError, Code};
use crate::quote;

/// The items of `CNI_ARGS`. Keys are case-sensitive and the order has no meaning (P-015).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CniArgs(Vec<(String, String)>);

impl CniArgs {
    /// Parses `CNI_ARGS`. Empty items are skipped; a value may contain `=` (P-016).
    ///
    /// # Errors
    /// [`Code::InvalidEnvironment`] if an item has no `=`.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        let mut pairs = Vec::new();
        for item in text.split(';').filter(|item| !item.is_empty()) {
            let Some((key, value)) = item.split_once('=') else {
                let msg = format!("CNI_ARGS item {} is not of the form KEY=VALUE", quote(item));
                return Err(CniError::new(Code::InvalidEnvironment, msg));
            };
            pairs.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self(pairs))
    }

    /// Parses `CNI_ARGS` and skips invalid items, for verbs such as DEL that must not fail
    /// because of them.
    pub fn parse_lossy(text: &str) -> Self {
        Self(
            text.split(';')
                .filter_map(|item| item.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// The last value of `key`. Returns `None` if the key is missing or the value empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
            .filter(|v| !v.is_empty())
    }

    /// Sets `key`. Replaces all its values.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.retain(|(k, _)| k != key);
        self.0.push((key.to_owned(), value.into()));
    }

    /// The items, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

impl std::fmt::Display for CniArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (key, value)) in self.iter().enumerate() {
            write!(f, "{}{key}={value}", if index == 0 { "" } else { ";" })?;
        }
        Ok(())
    }
}
