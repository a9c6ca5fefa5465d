//! `CNI_ARGS`: `K=V;K=V`.

use super::{CniError, Code};

/// The pairs of `CNI_ARGS`, in the order given; keys are case-sensitive and order carries no meaning (P-015).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CniArgs(Vec<(String, String)>);

impl CniArgs {
    /// Reads `CNI_ARGS`. Empty items are skipped; a value may contain `=` (P-016).
    ///
    /// # Errors
    /// [`Code::InvalidEnvironment`] names the item that has no `=`.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        let mut pairs = Vec::new();
        for item in text.split(';').filter(|item| !item.is_empty()) {
            let Some((key, value)) = item.split_once('=') else {
                let msg = format!("CNI_ARGS item {item:?} is not of the form KEY=VALUE");
                return Err(CniError::new(Code::InvalidEnvironment, msg));
            };
            pairs.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self(pairs))
    }

    /// Reads what can be read, for verbs that must not fail over it (DEL).
    pub fn parse_lossy(text: &str) -> Self {
        let pairs = text.split(';').filter_map(|item| item.split_once('='));
        Self(
            pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// The value of `key`; the last one where it is given twice; none where it is empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
            .filter(|v| !v.is_empty())
    }

    /// Sets `key`, in place of every value that it had.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.retain(|(k, _)| k != key);
        self.0.push((key.to_owned(), value.into()));
    }

    /// The pairs, in order.
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
