use std::time::Duration;

use plexus_api::cni::CniError;
use plexus_api::rows;
use serde_json::json;

use super::{AllowedPluginTypes, Fields, MAX_SOCKET_DIR, Settings};

fn read(text: &str) -> Result<Settings, CniError> {
    Ok(Settings::read(&Fields::parse(text)?)?)
}

#[test]
fn keys_match_case_insensitively_and_null_leaves_the_default() {
    // An editor may have inserted a byte order mark.
    let settings = read("\u{feff}{}").expect("valid");
    assert_eq!(settings.cluster_network, None);
    let settings = read(r#"{"CLUSTERNETWORK":"a","LogLevel":"Debug","Strict":true,"binDir":null}"#)
        .expect("valid");
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
fn durations_and_numbers_have_an_upper_bound() {
    let keys = [
        "pluginTimeout",
        "addTimeout",
        "delTimeout",
        "lookupWait",
        "statusWait",
        "recoveryInterval",
        "goneGap",
        "orphanAfter",
        "primaryGrace",
        "retireAfter",
        "shutdownGrace",
        "daemonWaitAdd",
        "daemonWaitDel",
        "daemonWaitStatus",
    ];
    let many = "5124095576030h".repeat(501);
    for key in keys {
        read(&format!(r#"{{"{key}":"24h"}}"#)).expect(key);
        for value in ["24h1ms", &many] {
            let error = read(&format!(r#"{{"{key}":"{value}"}}"#)).expect_err(key);
            assert!(
                error.msg.contains(key) && error.msg.contains("at most 24h"),
                "{error}"
            );
            assert!(error.msg.len() < 400, "{error}");
        }
    }
    let settings = read(r#"{"snapshotMaxAge":"8760h"}"#).expect("a year");
    assert_eq!(
        settings.snapshot_max_age,
        Some(Duration::from_hours(365 * 24))
    );
    for (key, value, allowed) in [
        ("snapshotMaxAge", "\"8761h\"", "at most 8760h"),
        ("maxPluginRuns", "10001", "from 1 to 10000"),
        ("maxPluginRuns", "18446744073709551616", "from 1 to 10000"),
        ("maxPluginRuns", "1e400", "from 1 to 10000"),
        ("metricsPort", "65536", "a port"),
        ("allowedUid", "4294967296", "a user id"),
    ] {
        let error = read(&format!(r#"{{"{key}":{value}}}"#)).expect_err(value);
        assert!(
            error.msg.contains(key) && error.msg.contains(allowed),
            "{error}"
        );
    }
}

#[test]
fn allowed_plugin_types_are_a_list_or_an_object_by_namespace() {
    let read_types = |value: &str| {
        read(&format!(r#"{{"allowedPluginTypes":{value}}}"#))
            .map(|settings| settings.allowed_plugin_types)
    };
    for (value, types) in [
        ("null", None),
        ("[]", Some(AllowedPluginTypes::everywhere([]))),
        (
            r#"["a","b"]"#,
            Some(AllowedPluginTypes::everywhere(["a", "b"])),
        ),
        ("{}", Some(AllowedPluginTypes::everywhere([]))),
        (
            r#"{"*":["a"],"ns":["b"],"closed":[]}"#,
            Some(
                AllowedPluginTypes::everywhere(["a"])
                    .with("ns", ["b"])
                    .with("closed", []),
            ),
        ),
    ] {
        assert_eq!(read_types(value).expect(value), types, "{value}");
    }
    for value in ["\"a\"", "[1]", "{\"*\":\"a\"}", "{\"ns\":null}", "5"] {
        let error = read_types(value).expect_err(value);
        assert!(
            error.msg.contains("allowedPluginTypes") && error.msg.contains("\"*\""),
            "{error}"
        );
    }
    for value in [
        r#"["a",""]"#,
        r#"["*"]"#,
        r#"{"*":["*"]}"#,
        r#"{"ns":["a/b"]}"#,
    ] {
        let error = read_types(value).expect_err(value);
        assert!(error.msg.contains("leave out the key"), "{error}");
    }
}

#[test]
fn an_error_names_the_key_the_value_and_the_allowed_values() {
    rows!("P-034");
    for (text, parts) in [
        (
            r#"{"strict":true,"logLevel":"bogus"}"#,
            ["logLevel", "bogus", "verbose"],
        ),
        (
            r#"{"pluginTimeout":"soon"}"#,
            ["pluginTimeout", "soon", "30s"],
        ),
        (r#"{"pluginTimeout":30}"#, ["pluginTimeout", "30", "30s"]),
        (
            r#"{"recoveryInterval":"0"}"#,
            ["recoveryInterval", "\"0\"", "above 0"],
        ),
        (r#"{"addTimeout":"0s"}"#, ["addTimeout", "0s", "above 0"]),
        // The shim would refuse every call.
        (
            r#"{"daemonWaitAdd":30}"#,
            ["daemonWaitAdd", "30", "a duration"],
        ),
        (
            r#"{"delWhenDown":"Spool"}"#,
            ["delWhenDown", "Spool", "\"retry\" or \"spool\""],
        ),
        (
            r#"{"maxPluginRuns":0}"#,
            ["maxPluginRuns", "0", "from 1 to 10000"],
        ),
        (
            r#"{"stateDir":"var/lib"}"#,
            ["stateDir", "var/lib", "absolute"],
        ),
        (
            r#"{"defaultNetworks":"a"}"#,
            ["defaultNetworks", "a", "list of strings"],
        ),
        (
            r#"{"namespaceIsolation":"yes"}"#,
            ["namespaceIsolation", "yes", "true or false"],
        ),
    ] {
        let error = read(text).expect_err(text);
        assert_eq!(error.code, 2, "{error}");
        for part in parts {
            assert!(error.msg.contains(part), "{error} should name {part}");
        }
    }
    assert_eq!(
        read(r#"{"logLevel":"bogus"}"#)
            .expect("ignored, as in Multus")
            .log
            .level,
        None
    );
    assert_eq!(read("[]").expect_err("not an object").code, 6);
}

#[test]
fn lists_replace_their_defaults() {
    let settings = read("{}").expect("valid");
    assert!(settings.system_namespaces.contains("kube-system"));
    assert!(settings.global_namespaces.contains("default"));
    assert_eq!(settings.plugin_timeout, Duration::from_secs(30));
    let settings = read(r#"{"globalNamespaces":" a , b,","systemNamespaces":[]}"#).expect("valid");
    assert_eq!(
        settings
            .global_namespaces
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert!(settings.system_namespaces.is_empty());
}

#[test]
fn unknown_keys_are_reported_and_known_keys_are_not() {
    let fields = Fields::parse(
        r#"{"clusterNetworks":"x","CHROOTDIR":"/hostroot","cni.dev/valid-attachments":[],"pluginTimeout":"1s"}"#,
    )
    .expect("object");
    assert_eq!(Settings::unknown_keys(&fields), ["clusternetworks"]);
}

#[test]
fn metrics_are_on_loopback_by_default() {
    let address = |text: &str| {
        let metrics = read(text).expect(text).metrics;
        (
            metrics.address.map(|address| address.to_string()),
            metrics.multus,
        )
    };
    for (text, expected, multus) in [
        ("{}", Some("127.0.0.1:9037"), false),
        (r#"{"metricsAddress":""}"#, None, false),
        (
            r#"{"metricsAddress":"10.0.0.1:80"}"#,
            Some("10.0.0.1:80"),
            false,
        ),
        (r#"{"metricsPort":9091}"#, Some("[::]:9091"), true),
        (r#"{"metricsPort":0}"#, Some("127.0.0.1:9037"), false),
        (
            r#"{"metricsPort":9091,"metricsAddress":"127.0.0.1:1"}"#,
            Some("127.0.0.1:1"),
            true,
        ),
    ] {
        assert_eq!(
            address(text),
            (expected.map(str::to_owned), multus),
            "{text}"
        );
    }
    for text in [
        r#"{"metricsAddress":"9037"}"#,
        r#"{"metricsAddress":9037}"#,
        r#"{"metricsPort":70000}"#,
    ] {
        read(text).expect_err(text);
    }
}

#[test]
fn log_keys_have_the_meaning_of_multus() {
    let log = read("{}").expect("valid").log;
    assert!(log.stderr && !log.json && log.file.is_none());
    let log = read(
        r#"{"logToStderr":false,"logFormat":"json","logFile":"/var/log/x.log","LogOptions":{"maxSize":7,"MAXAGE":2}}"#,
    )
    .expect("valid")
    .log;
    assert!(!log.stderr && log.json);
    let file = log.file.expect("a file");
    assert_eq!(
        (file.max_size, file.max_backups, file.max_age),
        (7 << 20, 5, Duration::from_hours(48))
    );
    for text in [
        r#"{"logFormat":"xml"}"#,
        r#"{"logFile":"x.log"}"#,
        r#"{"logOptions":{"maxSize":-1}}"#,
    ] {
        read(text).expect_err(text);
    }
}

#[test]
fn values_with_no_or_an_unexpected_effect_are_reported_at_start() {
    let warnings = |text: &str| Settings::startup_warnings(&Fields::parse(text).expect("object"));
    assert!(warnings(r#"{"logLevel":"debug","metricsAddress":"0.0.0.0:1"}"#).is_empty());
    for (text, word) in [
        (r#"{"logLevel":"bogus"}"#, "bogus"),
        (r#"{"logOptions":{"compress":true}}"#, "compress"),
        (r#"{"metricsPort":9091}"#, "[::]:9091"),
        (r#"{"shimDir":"/opt/cni/bin"}"#, "cniConfigDir"),
    ] {
        let warnings = warnings(text);
        assert!(
            warnings.len() == 1 && warnings[0].contains(word),
            "{text}: {warnings:?}"
        );
    }
}

#[test]
fn installation_keys_have_the_meaning_of_multus() {
    let publish = |text: &str| read(text).expect(text).publish.map(|publish| publish.dir);
    for (text, expected) in [
        ("{}", None),
        (r#"{"clusterNetwork":"/x"}"#, None),
        (r#"{"multusConfigFile":"auto"}"#, Some("/etc/cni/net.d")),
        (r#"{"multusAutoconfigDir":"/a"}"#, Some("/etc/cni/net.d")),
        (r#"{"cniConfigDir":"/c","multusConfigFile":""}"#, Some("/c")),
    ] {
        assert_eq!(publish(text), expected.map(Into::into), "{text}");
    }
    for key in ["plexus.dev/not-ready", "not_ready.1"] {
        let text = format!(r#"{{"startupTaint":"{key}","cniConfigDir":"/c","shimDir":"/s"}}"#);
        assert_eq!(
            read(&text).expect(&text).startup_taint.as_deref(),
            Some(key)
        );
    }
    let socket = |text: &str| read(text).expect(text).multus_socket_dir;
    for (text, expected) in [
        ("{}", None),
        (r#"{"socketDir":"/s/"}"#, Some("/s")),
        (r#"{"socketDir":"/s","multusSocket":false}"#, None),
        (r#"{"multusSocket":true}"#, Some("/run/multus")),
    ] {
        assert_eq!(socket(text), expected.map(Into::into), "{text}");
    }
}

#[test]
fn invalid_installation_keys_are_refused() {
    rows!("P-034");
    for (text, parts) in [
        (
            r#"{"multusConfigFile":"/tmp/70-multus.conf"}"#,
            ["multusConfigFile", "70-multus.conf", "auto"],
        ),
        (
            r#"{"multusAutoconfigDir":"/a","multusMasterCNI":"/a/b"}"#,
            ["multusMasterCNI", "/a/b", "name of a file"],
        ),
        (
            r#"{"multusMasterCNI":"b"}"#,
            ["multusMasterCNI", "b", "multusAutoconfigDir"],
        ),
        (
            r#"{"cniConfigDir":"etc"}"#,
            ["cniConfigDir", "etc", "absolute"],
        ),
        (r#"{"shimDir":1}"#, ["shimDir", "1", "string"]),
        (
            r#"{"binDir":"/opt/cni/bin:/usr/lib/cni"}"#,
            ["binDir", "/opt/cni/bin:/usr/lib/cni", "a single directory"],
        ),
        (
            r#"{"multusSocket":"yes"}"#,
            ["multusSocket", "yes", "true or false"],
        ),
        (
            r#"{"startupTaint":"a.b/c:NoSchedule"}"#,
            [
                "startupTaint",
                "a.b/c:NoSchedule",
                "without value and effect",
            ],
        ),
        (
            r#"{"startupTaint":"a.b/c=d"}"#,
            ["startupTaint", "a.b/c=d", "without value and effect"],
        ),
        (
            r#"{"startupTaint":"a.b/"}"#,
            ["startupTaint", "a.b/", "the key of a taint"],
        ),
        (
            r#"{"startupTaint":"a.b/c","cniConfigDir":"/c"}"#,
            ["startupTaint", "a.b/c", "shimDir"],
        ),
        (
            r#"{"startupTaint":"a.b/c","shimDir":"/s"}"#,
            ["startupTaint", "a.b/c", "cniConfigDir"],
        ),
    ] {
        let error = read(text).expect_err(text);
        for part in parts {
            assert!(error.msg.contains(part), "{error} should name {part}");
        }
    }
}

#[test]
fn the_path_of_a_socket_has_an_upper_bound() {
    let dir = |length: usize| format!("/{}", "d".repeat(length - 1));
    for key in ["daemonSocketDir", "socketDir"] {
        let with = |length| read(&json!({ key: dir(length) }).to_string());
        with(MAX_SOCKET_DIR).expect(key);
        let error = with(MAX_SOCKET_DIR + 1).expect_err(key).msg;
        for part in [key, "at most 86 bytes, not 87", "107"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    let unused = json!({"socketDir": dir(200), "multusSocket": false});
    read(&unused.to_string()).expect("no socket");
}
