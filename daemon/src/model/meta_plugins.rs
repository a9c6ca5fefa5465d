//! A network whose plugin is Plexus, or Multus, would wait for itself.

use plexus_api::cni::{NetworkConfig, PluginConfig};
use plexus_api::json::keys_match;

/// The types that lead back to a meta-plugin.
const META_PLUGINS: [&str; 3] = ["plexus", "multus", "multus-shim"];

/// The first plugin type in `config`, at any depth, that leads back to Plexus or to Multus (K-071).
///
/// Every `type` counts, also in a repeated key and in another case, because plugins written in Go read those too. The
/// text is scanned once: neither depth nor numbers out of range get in the way.
pub(crate) fn refers_to_us(config: &NetworkConfig) -> Option<String> {
    let pairs = config.plugins.iter().flat_map(PluginConfig::as_map);
    pairs
        .into_iter()
        .find_map(|(key, raw)| meta_plugin(key, raw.get()).or_else(|| scan(raw.get())))
}

/// The value, where `key` is a type and the value is one of ours.
fn meta_plugin(key: &str, value: &str) -> Option<String> {
    if !keys_match(key, "type") {
        return None;
    }
    let value: String = serde_json::from_str(value).ok()?;
    META_PLUGINS.contains(&value.as_str()).then_some(value)
}

/// Looks at every `"key": "string"` in text that is known to be JSON.
fn scan(mut text: &str) -> Option<String> {
    let mut key = None;
    while let Some((before, string, rest)) = next_string(text) {
        // Only a colon can stand between a key and its string; anything else begins something new.
        let is_value = before.trim() == ":";
        if let Some(key) = key.take_if(|_| is_value) {
            let key: String = serde_json::from_str(key).unwrap_or_default();
            if let found @ Some(_) = meta_plugin(&key, string) {
                return found;
            }
        } else {
            key = Some(string);
        }
        text = rest;
    }
    None
}

/// The next string, quotes included, with what stands before and after it.
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
