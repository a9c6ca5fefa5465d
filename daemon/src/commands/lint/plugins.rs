//! The configurations of plugins: what the reference plugins refuse or ignore.

use plexus_api::cni::{NetworkConfig, PluginConfig};
use plexus_api::json::{PathStep, keys_match};
use plexus_api::{quote, shorten};
use serde_json::Value;

use super::finding::{Reporter, Rule};
use super::plugin_keys::{self, Shape};
use super::{ipam, json_text};
use crate::suggest::suggest;

/// The longest name of a link, in bytes.
const MAX_IFNAME: usize = 15;

/// The capabilities of plugins and runtimes that are in use.
const CAPABILITIES: [&str; 11] = [
    "CNIDeviceInfoFile",
    "aliases",
    "bandwidth",
    "cgroupPath",
    "deviceID",
    "dns",
    "infinibandGUID",
    "ipRanges",
    "ips",
    "mac",
    "portMappings",
];

/// Checks the plugins of a valid network configuration. `has_resource` says whether kubelet
/// allocates a device for the network.
pub(super) fn check(reporter: &mut Reporter<'_, '_>, config: &NetworkConfig, has_resource: bool) {
    let text = reporter.text.text;
    check_duplicates(reporter, &[]);
    let plugins = json_text::value(text, &["plugins".into()]).map(json_text::items);
    let paths: Vec<Vec<PathStep>> = match plugins {
        Some(plugins) => {
            check_list_keys(reporter, config);
            (0..plugins.len())
                .map(|index| vec!["plugins".into(), index.into()])
                .collect()
        }
        None => vec![Vec::new()],
    };
    for (plugin, path) in config.plugins.iter().zip(paths) {
        let plugin = Plugin {
            kind: plugin.kind(),
            value: serde_json::from_str(&serde_json::to_string(plugin).unwrap_or_default())
                .unwrap_or_default(),
            path,
        };
        plugin.check(reporter, has_resource);
    }
}

/// The keys of a list. CNI reads those of plugins only inside a plugin.
fn check_list_keys(reporter: &mut Reporter<'_, '_>, config: &NetworkConfig) {
    const KEYS: [&str; 8] = [
        "cniVersion",
        "cniVersions",
        "disableCheck",
        "disableGC",
        "loadOnlyInlinedPlugins",
        "name",
        "plugins",
        "prevResult",
    ];
    let kinds: Vec<_> = config.plugins.iter().map(PluginConfig::kind).collect();
    let own = kinds.iter().filter_map(|kind| plugin_keys::of_plugin(kind));
    let of_plugins: Vec<_> = own.chain([plugin_keys::COMMON]).flatten().collect();
    let members = json_text::members(reporter.text.text);
    // In a file for one plugin, this is the plugin itself.
    let is_list = !members.iter().any(|(key, _)| keys_match(key, "type"));
    for (key, _) in members {
        let path = [key.as_str().into()];
        if KEYS.iter().any(|known| keys_match(known, &key)) {
            continue;
        }
        if is_list && of_plugins.iter().any(|(known, _)| keys_match(known, &key)) {
            let text =
                format!("the list ignores the key {key:?}; move it into the plugin that needs it");
            let position = reporter.text.key(&path);
            reporter.warning(Rule::UnknownKey, position, &text);
        } else if let Some(known) = suggest(&key, KEYS) {
            unknown_key(reporter, &path, "the list", known);
        }
    }
}

fn unknown_key(reporter: &mut Reporter<'_, '_>, path: &[PathStep], owner: &str, known: &str) {
    let Some(PathStep::Key(key)) = path.last() else {
        return;
    };
    let text = format!(
        "{owner} has the unknown key {}, which is ignored; did you mean {known:?}?",
        quote(key)
    );
    let position = reporter.text.key(path);
    reporter.warning(Rule::UnknownKey, position, &text);
}

/// Reports keys that an object has twice, in the object at `path` and in all inside it.
fn check_duplicates(reporter: &mut Reporter<'_, '_>, path: &[PathStep]) {
    let Some(text) = json_text::value(reporter.text.text, path) else {
        return;
    };
    let inner = |step: PathStep| [path, &[step]].concat();
    if text.starts_with('[') {
        for index in 0..json_text::items(text).len() {
            check_duplicates(reporter, &inner(index.into()));
        }
    } else if text.starts_with('{') {
        let members = json_text::members(text);
        for (index, (key, _)) in members.iter().enumerate() {
            let path = inner(key.as_str().into());
            let mut earlier = members[..index].iter();
            if earlier.any(|(other, _)| other == key) {
                let text = format!(
                    "the key {} is present twice, and only the last one counts; remove one",
                    quote(key)
                );
                let position = reporter.text.key(&path);
                reporter.warning(Rule::Duplicate, position, &text);
            } else {
                check_duplicates(reporter, &path);
            }
        }
    }
}

/// A plugin and its place in the configuration.
struct Plugin {
    kind: String,
    value: Value,
    path: Vec<PathStep>,
}

impl Plugin {
    fn check(&self, reporter: &mut Reporter<'_, '_>, has_resource: bool) {
        self.check_capabilities(reporter);
        self.check_keys(reporter);
        self.check_names(reporter);
        if self.kind == "host-device" && !has_resource {
            self.check_device(reporter);
        }
        if self.kind == "vlan" && self.text("master").is_empty() {
            let position = reporter.text.value(&self.path);
            let text =
                "plugin \"vlan\" has no \"master\", and refuses that; set the link of the VLAN";
            reporter.error(Rule::PluginConfig, position, text);
        }
        if let Some(ipam) = member(&self.value, "ipam").filter(|ipam| ipam.is_object()) {
            // Other plugins may add the ranges of the node, as flannel and antrea do.
            let is_complete = plugin_keys::of_plugin(&self.kind).is_some();
            let may_lack_ranges = self.declares("ipRanges") || !is_complete;
            let path = self.inner("ipam");
            ipam::check(reporter, &self.kind, may_lack_ranges, ipam, &path);
        }
    }

    fn inner(&self, key: &str) -> Vec<PathStep> {
        [self.path.as_slice(), &[key.into()]].concat()
    }

    fn text(&self, key: &str) -> &str {
        let value = member(&self.value, key);
        value.and_then(Value::as_str).unwrap_or_default()
    }

    fn declares(&self, capability: &str) -> bool {
        let capabilities = member(&self.value, "capabilities");
        capabilities.is_some_and(|capabilities| capabilities.get(capability).is_some())
    }

    fn check_keys(&self, reporter: &mut Reporter<'_, '_>) {
        let Some(own) = plugin_keys::of_plugin(&self.kind) else {
            return;
        };
        let owner = format!("plugin {}", quote(&self.kind));
        let keys = [own, plugin_keys::COMMON].concat();
        check_object(reporter, &owner, &self.value, &self.path, &keys);
        // Keys of the IPAM plugin in the wrong place.
        let ipam = plugin_keys::of_ipam("host-local").unwrap_or_default();
        for key in self
            .value
            .as_object()
            .into_iter()
            .flat_map(|object| object.keys())
        {
            let is_known = keys.iter().any(|(known, _)| keys_match(known, key));
            if !is_known && ipam.iter().any(|(known, _)| keys_match(known, key)) {
                let text = format!("{owner} ignores the key {key:?}; move it into \"ipam\"");
                let position = reporter.text.key(&self.inner(key));
                reporter.warning(Rule::UnknownKey, position, &text);
            }
        }
    }

    fn check_capabilities(&self, reporter: &mut Reporter<'_, '_>) {
        let path = self.inner("capabilities");
        let Some(capabilities) = member(&self.value, "capabilities") else {
            return;
        };
        let Some(capabilities) = capabilities.as_object() else {
            let text = format!(
                "plugin {}: \"capabilities\" must be an object like {{\"ips\": true}}, and declares nothing as it is",
                quote(&self.kind)
            );
            let position = reporter.text.value(&path);
            reporter.warning(Rule::PluginConfig, position, &text);
            return;
        };
        for (name, value) in capabilities {
            let path = [path.as_slice(), &[name.as_str().into()]].concat();
            if !value.is_boolean() {
                let text = format!(
                    "plugin {}: the capability {} is {}, which does not declare it; write true without quotes",
                    quote(&self.kind),
                    quote(name),
                    shorten(&value.to_string())
                );
                let position = reporter.text.value(&path);
                reporter.warning(Rule::PluginConfig, position, &text);
            }
            // Capabilities match exactly.
            let folded = CAPABILITIES.iter().find(|known| keys_match(known, name));
            let similar = folded.filter(|known| *known != name).copied();
            if let Some(known) = similar.or_else(|| suggest(name, CAPABILITIES)) {
                unknown_key(reporter, &path, "\"capabilities\"", known);
            }
        }
    }

    /// Names of links that the kernel refuses.
    fn check_names(&self, reporter: &mut Reporter<'_, '_>) {
        for (kind, key, is_created) in [
            ("bridge", "bridge", true),
            ("vrf", "vrfname", true),
            ("macvlan", "master", false),
            ("ipvlan", "master", false),
            ("vlan", "master", false),
            ("host-device", "device", false),
        ] {
            let name = self.text(key);
            // A placeholder of a template may be longer than the name that replaces it.
            if self.kind != kind || name.len() <= MAX_IFNAME || name.contains('$') {
                continue;
            }
            let position = reporter.text.value(&self.inner(key));
            let text = format!(
                "plugin {kind:?}: {key:?} is {}, but the name of a link has at most {MAX_IFNAME} bytes",
                quote(name)
            );
            if is_created {
                reporter.error(
                    Rule::PluginConfig,
                    position,
                    &(text + "; use a shorter name"),
                );
            } else {
                let text = text + "; only an alternative name of a link can be longer";
                reporter.warning(Rule::PluginConfig, position, &text);
            }
        }
    }

    fn check_device(&self, reporter: &mut Reporter<'_, '_>) {
        let named = ["device", "hwaddr", "kernelpath", "pciBusID", "deviceID"];
        if !self.declares("deviceID") && named.iter().all(|key| self.text(key).is_empty()) {
            let position = reporter.text.value(&self.path);
            let text = "plugin \"host-device\" has no device: set \"device\", \"hwaddr\", \"kernelpath\" or \"pciBusID\", \
                        or the annotation k8s.v1.cni.cncf.io/resourceName of the definition";
            reporter.warning(Rule::PluginConfig, position, text);
        }
    }
}

/// The value of a key, which matches as in Go.
pub(super) fn member<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let members = value.as_object()?.iter();
    let mut found = members.filter(|(other, value)| keys_match(other, key) && !value.is_null());
    found.next_back().map(|(_, value)| value)
}

/// Reports values of the wrong shape, and keys that are probably misspelled.
pub(super) fn check_object(
    reporter: &mut Reporter<'_, '_>,
    owner: &str,
    object: &Value,
    path: &[PathStep],
    keys: &[(&'static str, Shape)],
) {
    for (key, value) in object.as_object().into_iter().flatten() {
        let path = [path, &[key.as_str().into()]].concat();
        match keys.iter().find(|(known, _)| keys_match(known, key)) {
            Some((known, shape)) => {
                let Some(expected) = shape.refuses(value) else {
                    continue;
                };
                let text = format!(
                    "{owner}: {known:?} is {}, but must be {expected}",
                    shorten(&value.to_string())
                );
                let position = reporter.text.value(&path);
                reporter.error(Rule::PluginConfig, position, &text);
            }
            None => {
                if let Some(known) = suggest(key, keys.iter().map(|(known, _)| *known)) {
                    unknown_key(reporter, &path, owner, known);
                }
            }
        }
    }
}
