use std::fs;
use std::path::Path;

use plexus_api::cni::{CniError, Code, NetworkConfig, Version};
use tempfile::TempDir;

use super::{by_name, definition_network, from_directory, from_file, network};
use crate::cluster::Definition;

const VERSION: Version = Version::V1_0_0;

/// A directory with these files; a name that ends in `/` is a directory.
fn dir(files: &[(&str, &str)]) -> TempDir {
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

fn single(name: &str, kind: &str) -> String {
    format!(r#"{{"cniVersion":"1.0.0","name":"{name}","type":"{kind}"}}"#)
}

fn list(name: &str, kinds: &[&str]) -> String {
    let plugins: Vec<_> = kinds
        .iter()
        .map(|kind| format!(r#"{{"type":"{kind}"}}"#))
        .collect();
    format!(
        r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{}]}}"#,
        plugins.join(",")
    )
}

fn kinds(network: &Result<NetworkConfig, CniError>) -> Vec<String> {
    network
        .as_ref()
        .expect("a network")
        .plugins
        .iter()
        .map(plexus_api::cni::PluginConfig::kind)
        .collect()
}

fn definition(name: &str, config: Option<&str>) -> Definition {
    Definition {
        namespace: "ns".into(),
        name: name.into(),
        config: config.map(Into::into),
        resource_name: None,
    }
}

#[test]
fn by_name_takes_lists_before_single_plugins() {
    plexus_api::rows!("K-003", "R-015");
    let both = dir(&[
        ("10.conf", &single("n", "single")),
        ("90.conflist", &list("n", &["list"])),
    ]);
    assert_eq!(kinds(&by_name(both.path(), "n", VERSION)), ["list"]);
    let singles = dir(&[
        ("20.json", &single("n", "second")),
        ("10.conf", &single("n", "first")),
    ]);
    assert_eq!(kinds(&by_name(singles.path(), "n", VERSION)), ["first"]);
}

#[test]
fn other_names_and_directories_are_ignored() {
    plexus_api::rows!("R-015");
    let n = &single("n", "x");
    let dir = dir(&[
        ("a.conflist~", n),
        ("b.conf.bak", n),
        ("conf", n),
        ("c.yaml", n),
        (".conf", n),
        ("d.conf/", ""),
    ]);
    for result in [
        by_name(dir.path(), "n", VERSION),
        from_directory(dir.path(), VERSION),
    ] {
        let error = result.expect_err("nothing here");
        assert!(
            error.is(Code::UnknownNetwork) && error.details.is_empty(),
            "{error}"
        );
    }
}

#[test]
fn broken_files_are_passed_over_and_named() {
    let dir = dir(&[
        ("00.conflist", "{"),
        ("01.conf", r#"{"name":"n"}"#),
        ("02.conf", &single("", "nameless")),
        ("03.conf", r#"{"cniVersion":"9.0.0","name":"n","type":"x"}"#),
        ("04.conf", &"[".repeat(3000)),
        ("50.conf", &single("n", "good")),
    ]);
    fs::write(dir.path().join("05.conf"), [0xff, 0xfe]).expect("not text");
    fs::write(
        dir.path().join("06.conf"),
        " ".repeat(plexus_api::json::MAX_CONFIG + 1),
    )
    .expect("too large");
    assert_eq!(kinds(&from_directory(dir.path(), VERSION)), ["good"]);
    fs::remove_file(dir.path().join("01.conf")).expect("remove");
    assert_eq!(kinds(&by_name(dir.path(), "n", VERSION)), ["good"]);

    let error = by_name(dir.path(), "other", VERSION).expect_err("no such network");
    assert!(
        error.is(Code::UnknownNetwork) && error.msg.contains("\"other\""),
        "{error}"
    );
    for name in [
        "00.conflist",
        "02.conf",
        "03.conf",
        "04.conf",
        "05.conf",
        "06.conf",
    ] {
        assert!(error.details.contains(name), "{name}: {error}");
    }
    let error = by_name(Path::new("/nonexistent"), "n", VERSION).expect_err("no directory");
    assert!(
        error.is(Code::UnknownNetwork) && error.msg.contains("/nonexistent"),
        "{error}"
    );
}

#[test]
fn a_list_in_a_file_gets_the_plugins_beside_it() {
    plexus_api::rows!("R-009");
    let dir = dir(&[
        ("n.conflist", &list("net", &["inline"])),
        ("net/20-b.conf", r#"{"type":"b"}"#),
        ("net/10-a.conf", r#"{"type":"a","number":1e400}"#),
        ("net/x.txt", "{"),
        ("net/x.conflist", "{"),
        ("net/sub/30-c.conf", r#"{"type":"c"}"#),
        ("net/sub.conf/", ""),
        ("alone.conflist", &list("alone", &["inline"])),
        ("no-directory.conflist", &list("n.conflist", &["inline"])),
    ]);
    let found = from_file(&dir.path().join("n.conflist"), VERSION);
    assert_eq!(kinds(&found), ["inline", "a", "b"]);
    let number = found.as_ref().expect("network").plugins[1]
        .raw("number")
        .expect("number");
    assert_eq!(number.get(), "1e400", "to the letter");
    assert_eq!(
        kinds(&by_name(dir.path(), "net", VERSION)),
        ["inline", "a", "b"]
    );
    for name in ["alone.conflist", "no-directory.conflist"] {
        assert_eq!(
            kinds(&from_file(&dir.path().join(name), VERSION)),
            ["inline"],
            "{name}"
        );
    }

    for broken in [
        "{",
        "[]",
        r#"{"name":"x"}"#,
        r#"{"plugins":[{"type":"x"}]}"#,
        r#"{"type":"../x"}"#,
        r#"{},{"type":"x"}"#,
    ] {
        fs::write(dir.path().join("net/15.conf"), broken).expect("write");
        for result in [
            from_file(&dir.path().join("n.conflist"), VERSION),
            by_name(dir.path(), "net", VERSION),
        ] {
            let error = result.expect_err(broken);
            assert!(error.msg.contains("net/15.conf"), "{error}");
        }
    }
}

#[test]
fn a_list_may_refuse_the_plugins_beside_it_and_a_single_plugin_never_gets_them() {
    plexus_api::rows!("R-010");
    let only = r#"{"cniVersion":"1.0.0","name":"net","loadOnlyInlinedPlugins":true,"plugins":[{"type":"inline"}]}"#;
    let dir = dir(&[
        ("a.conflist", only),
        ("a.conf", &single("net", "single")),
        ("net/10-a.conf", r#"{"type":"a"}"#),
    ]);
    assert_eq!(
        kinds(&from_file(&dir.path().join("a.conflist"), VERSION)),
        ["inline"]
    );
    assert_eq!(
        kinds(&from_file(&dir.path().join("a.conf"), VERSION)),
        ["single"]
    );
}

#[test]
fn a_list_without_any_plugin_is_an_error() {
    plexus_api::rows!("R-011");
    let bare = r#"{"cniVersion":"1.0.0","name":"net"}"#;
    let dir = dir(&[
        ("a.conflist", bare),
        ("empty/a.conflist", bare),
        ("empty/net/", ""),
        ("full/a.conflist", bare),
    ]);
    for path in ["a.conflist", "empty/a.conflist"] {
        let error = from_file(&dir.path().join(path), VERSION).expect_err(path);
        assert!(
            error.is(Code::InvalidConfig)
                && error.msg.contains("\"net\"")
                && error.msg.contains(path),
            "{error}"
        );
    }
    fs::create_dir(dir.path().join("full/net")).expect("directory");
    fs::write(dir.path().join("full/net/1.conf"), r#"{"type":"a"}"#).expect("plugin");
    assert_eq!(
        kinds(&from_file(&dir.path().join("full/a.conflist"), VERSION)),
        ["a"]
    );
}

#[test]
fn a_definition_never_gets_plugins_from_the_node() {
    plexus_api::rows!("R-012");
    let dir = dir(&[("net/10-a.conf", r#"{"type":"a"}"#)]);
    for (name, config) in [
        ("net", list("", &["own"])),
        ("other", list("net", &["own"])),
    ] {
        assert_eq!(
            kinds(&definition_network(
                &definition(name, Some(&config)),
                dir.path(),
                VERSION
            )),
            ["own"]
        );
    }
    let error = definition_network(
        &definition("net", Some(r#"{"cniVersion":"1.0.0"}"#)),
        dir.path(),
        VERSION,
    );
    assert!(error.expect_err("no plugin").is(Code::InvalidConfig));
}

#[test]
fn a_definition_is_its_config_or_the_network_of_its_name() {
    plexus_api::rows!("K-002", "K-003", "K-004");
    let on_disk = list("net", &["disk"]);
    let dir = dir(&[
        ("a.conflist", &on_disk),
        ("b.conf", &single("one", "single")),
    ]);
    let resolve = |name, config| definition_network(&definition(name, config), dir.path(), VERSION);
    assert_eq!(
        kinds(&resolve(
            "net",
            Some(r#"{"cniVersion":"1.0.0","type":"own"}"#)
        )),
        ["own"]
    );
    assert_eq!(kinds(&resolve("net", None)), ["disk"]);
    assert_eq!(kinds(&resolve("net", Some(""))), ["disk"]);
    assert_eq!(kinds(&resolve("one", None)), ["single"]);
    let error = resolve("none", None).expect_err("nowhere");
    assert!(
        error.is(Code::UnknownNetwork) && error.msg.contains("\"none\""),
        "{error}"
    );
    for wrong in [
        "{",
        " ",
        "{}",
        "[]",
        r#"{"type":7}"#,
        r#"{"plugins":[]}"#,
        r#"{"name":"a/b","type":"x"}"#,
    ] {
        let error = resolve("net", Some(wrong)).expect_err(wrong);
        assert!(
            !error.is(Code::UnknownNetwork)
                && error.msg.contains("its network-attachment-definition"),
            "{error}"
        );
    }
}

#[test]
fn a_definition_gives_its_name_and_the_default_version() {
    plexus_api::rows!("K-005");
    for config in [
        r#"{"type":"x"}"#,
        r#"{"name":"","type":"x"}"#,
        r#"{"plugins":[{"type":"x","name":"inner"}]}"#,
    ] {
        let found = definition_network(
            &definition("a-net", Some(config)),
            Path::new("/nonexistent"),
            VERSION,
        );
        let found = found.expect(config);
        assert_eq!((&*found.name, found.cni_version), ("a-net", VERSION));
    }
    let named = r#"{"cniVersion":"0.4.0","name":"own","type":"x"}"#;
    let found = definition_network(
        &definition("a-net", Some(named)),
        Path::new("/nonexistent"),
        VERSION,
    );
    let found = found.expect("own name");
    assert_eq!((&*found.name, found.cni_version), ("own", Version::V0_4_0));
}

#[test]
fn a_default_network_is_a_name_a_directory_or_a_file() {
    plexus_api::rows!("K-061");
    let dir = dir(&[
        ("20.conf", &single("n", "second")),
        ("10.conflist", &list("first", &["first"])),
    ]);
    let path = |name: &str| dir.path().join(name).to_str().expect("path").to_owned();
    for (source, kind) in [
        ("n".to_owned(), "second"),
        (path(""), "first"),
        (path("20.conf"), "second"),
    ] {
        assert_eq!(
            kinds(&network(&source, dir.path(), VERSION)),
            [kind],
            "{source}"
        );
    }
    for (source, code) in [
        ("none".to_owned(), Code::UnknownNetwork),
        (path("none.conf"), Code::UnknownNetwork),
        ("/dev/null".to_owned(), Code::InvalidConfig),
    ] {
        let error = network(&source, dir.path(), VERSION).expect_err(&source);
        assert!(error.is(code) && error.msg.contains(&source), "{error}");
    }
}

#[test]
fn a_directory_never_yields_ourselves() {
    plexus_api::rows!("K-071");
    let nested = r#"{"cniVersion":"1.0.0","name":"m","type":"x","delegates":[{"type":"multus"}]}"#;
    let ours = [
        ("00-plexus.conflist", &*list("p", &["plexus", "mesh"])),
        ("00-multus.conf", &single("m", "multus-shim")),
        ("01-custom.json", &single("c", "multus")),
        ("02-nested.conf", nested),
        ("03-beside.conflist", &list("beside", &["x"])),
        ("beside/1.conf", r#"{"type":"plexus"}"#),
    ];
    let dir = dir(&ours);
    let error = from_directory(dir.path(), VERSION).expect_err("only ours");
    assert!(
        error.is(Code::UnknownNetwork) && error.msg.contains("no default network"),
        "{error}"
    );
    fs::write(dir.path().join("99.conf"), single("n", "bridge")).expect("write");
    assert_eq!(kinds(&from_directory(dir.path(), VERSION)), ["bridge"]);
}
