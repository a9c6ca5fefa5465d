use std::time::Duration;

use plexus_api::cni::CniError;
use plexus_api::rows;

use super::{Fields, Settings};

fn read(text: &str) -> Result<Settings, CniError> {
    Ok(Settings::read(&Fields::parse(text)?)?)
}

#[test]
fn keys_match_case_insensitively_and_null_leaves_the_default() {
    let settings = read(r#"{"CLUSTERNETWORK":"a","LogLevel":"Debug","Strict":true,"binDir":null}"#).expect("valid");
    assert_eq!(settings.cluster_network.as_deref(), Some("a"));
    assert_eq!(settings.log.level.as_deref(), Some("debug"));
    assert!(settings.strict);
    assert_eq!(settings.bin_dir, None);
}

#[test]
fn the_file_wins_over_the_call() {
    let call = Fields::parse(r#"{"clusterNetwork":"call","confDir":"/call"}"#).expect("object");
    let file = Fields::parse(r#"{"ClusterNetwork":"file"}"#).expect("object");
    let settings = Settings::read(&call.overlaid_by(&file)).expect("valid");
    assert_eq!(settings.cluster_network.as_deref(), Some("file"));
    assert_eq!(settings.conf_dir.to_str(), Some("/call"));
}

#[test]
fn a_wrong_value_is_named_with_key_value_and_what_is_allowed() {
    rows!("P-034");
    for (text, parts) in [
        (r#"{"strict":true,"logLevel":"bogus"}"#, ["logLevel", "bogus", "verbose"]),
        (r#"{"pluginTimeout":"soon"}"#, ["pluginTimeout", "soon", "30s"]),
        (r#"{"pluginTimeout":30}"#, ["pluginTimeout", "30", "30s"]),
        (r#"{"maxPluginRuns":0}"#, ["maxPluginRuns", "0", "above 0"]),
        (r#"{"stateDir":"var/lib"}"#, ["stateDir", "var/lib", "absolute"]),
        (r#"{"defaultNetworks":"a"}"#, ["defaultNetworks", "a", "list of strings"]),
        (r#"{"namespaceIsolation":"yes"}"#, ["namespaceIsolation", "yes", "true or false"]),
    ] {
        let error = read(text).expect_err(text);
        assert_eq!(error.code, 2, "{error}");
        for part in parts {
            assert!(error.msg.contains(part), "{error} should name {part}");
        }
    }
    assert_eq!(read(r#"{"logLevel":"bogus"}"#).expect("as Multus").log.level, None);
    assert_eq!(read("[]").expect_err("not an object").code, 6);
}

#[test]
fn lists_replace_their_defaults() {
    let settings = read("{}").expect("valid");
    assert!(settings.system_namespaces.contains("kube-system"));
    assert!(settings.global_namespaces.contains("default"));
    assert_eq!(settings.plugin_timeout, Duration::from_secs(30));
    let settings = read(r#"{"globalNamespaces":" a , b,","systemNamespaces":[]}"#).expect("valid");
    assert_eq!(settings.global_namespaces.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b"]);
    assert!(settings.system_namespaces.is_empty());
}

#[test]
fn unknown_keys_are_told_and_known_ones_are_not() {
    let fields = Fields::parse(
        r#"{"clusterNetworks":"x","CHROOTDIR":"/hostroot","cni.dev/valid-attachments":[],"pluginTimeout":"1s"}"#,
    )
    .expect("object");
    assert_eq!(Settings::unknown_keys(&fields), ["clusternetworks"]);
}
