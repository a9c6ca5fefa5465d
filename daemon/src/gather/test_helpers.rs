//! Fixtures for the tests of this module.

use std::borrow::Borrow;
use std::fmt::Debug;
use std::fs;

use plexus_api::cni::{NetworkConfig, PluginConfig};
use tempfile::TempDir;

/// A directory with these files. A name that ends in `/` is a subdirectory.
pub(super) fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("directory");
    for (name, text) in files {
        let path = dir.path().join(name);
        if name.ends_with('/') {
            fs::create_dir_all(path).expect(name);
        } else {
            fs::create_dir_all(path.parent().expect("parent")).expect(name);
            fs::write(path, text).expect(name);
        }
    }
    dir
}

/// A configuration with a single plugin.
pub(super) fn single(name: &str, kind: &str) -> String {
    format!(r#"{{"cniVersion":"1.0.0","name":"{name}","type":"{kind}"}}"#)
}

/// A list of plugins.
pub(super) fn list(name: &str, kinds: &[&str]) -> String {
    let plugins: Vec<_> = kinds
        .iter()
        .map(|kind| format!(r#"{{"type":"{kind}"}}"#))
        .collect();
    format!(
        r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{}]}}"#,
        plugins.join(",")
    )
}

/// The types of a network's plugins.
pub(super) fn kinds<C: Borrow<NetworkConfig>, E: Debug>(network: &Result<C, E>) -> Vec<String> {
    let network = match network {
        Ok(network) => network,
        Err(error) => panic!("{error:?}"),
    };
    network
        .borrow()
        .plugins
        .iter()
        .map(PluginConfig::kind)
        .collect()
}
