//! Detection of meta-plugins: a network with a plugin that is Plexus or Multus would call Plexus
//! again within the same call.

use plexus_api::cni::{NetworkConfig, PluginConfig};
use plexus_api::json::keys_match;

/// The plugin types that call Plexus.
const META_PLUGINS: [&str; 3] = ["plexus", "multus", "multus-shim"];

/// The first plugin type in `config`, at any depth, that is a meta-plugin (K-071). Returns `None`
/// if there is none.
///
/// Every `type` counts, including repeated keys and keys in another case, because plugins written
/// in Go read those too. The text is scanned once, so that neither depth nor numbers out of range
/// matter.
pub(crate) fn meta_plugin_type(config: &NetworkConfig) -> Option<String> {
    config
        .plugins
        .iter()
        .flat_map(PluginConfig::as_map)
        .find_map(|(key, raw)| meta_plugin_value(key, raw.get()).or_else(|| scan(raw.get())))
}

/// The value of a `type` key if the value is a meta-plugin. `value` is JSON.
fn meta_plugin_value(key: &str, value: &str) -> Option<String> {
    if !keys_match(key, "type") {
        return None;
    }
    let value: String = serde_json::from_str(value).ok()?;
    META_PLUGINS.contains(&value.as_str()).then_some(value)
}

/// Checks every `"key": "string"` in valid JSON.
fn scan(mut text: &str) -> Option<String> {
    let mut key = None;
    while let Some((before, string, rest)) = next_string(text) {
        // Only a colon separates a key from its string value.
        let is_value = before.trim() == ":";
        if let Some(key) = key.take_if(|_| is_value) {
            let key: String = serde_json::from_str(key).unwrap_or_default();
            if let found @ Some(_) = meta_plugin_value(&key, string) {
                return found;
            }
        } else {
            key = Some(string);
        }
        text = rest;
    }
    None
}

/// The next string including its quotes, with the text before and after it.
fn next_string(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find('"')?;
    let mut escaped = false;
    let length = text[start + 1..].find(|c| {
        let end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        end
    })?;
    let end = start + 1 + length + 1;
    Some((&text[..start], &text[start..end], &text[end..]))
}

#[cfg(test)]
mod tests;
