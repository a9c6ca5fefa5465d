use std::fs;
use std::path::Path;

use plexus_api::cni::MAX_PLUGINS;

use super::{DiskError, append_plugins, by_name, from_directory, from_file, network};
use crate::gather::test_helpers::{dir, kinds, list, single};

#[test]
fn by_name_takes_lists_before_single_plugins() {
    plexus_api::rows!("K-003", "R-015");
    let both = dir(&[
        ("10.conf", &single("n", "single")),
        ("90.conflist", &list("n", &["list"])),
    ]);
    assert_eq!(kinds(&by_name(both.path(), "n")), ["list"]);
    let singles = dir(&[
        ("20.json", &single("n", "second")),
        ("10.conf", &single("n", "first")),
    ]);
    assert_eq!(kinds(&by_name(singles.path(), "n")), ["first"]);
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
    for result in [by_name(dir.path(), "n"), from_directory(dir.path())] {
        let error = result.expect_err("nothing here");
        assert!(
            error.is_missing() && !error.to_string().contains("skipped"),
            "{error}"
        );
    }
}

#[test]
fn broken_files_are_skipped_and_named() {
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
    assert_eq!(kinds(&from_directory(dir.path())), ["good"]);
    fs::remove_file(dir.path().join("01.conf")).expect("remove");
    assert_eq!(kinds(&by_name(dir.path(), "n")), ["good"]);

    let error = by_name(dir.path(), "other").expect_err("no such network");
    assert!(
        error.is_missing() && error.to_string().contains("\"other\""),
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
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
    let error = by_name(Path::new("/nonexistent"), "n").expect_err("no directory");
    assert!(
        error.is_missing() && error.to_string().contains("/nonexistent"),
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
    let found = from_file(&dir.path().join("n.conflist"));
    assert_eq!(kinds(&found), ["inline", "a", "b"]);
    let number = found.as_ref().expect("network").plugins[1]
        .raw("number")
        .expect("number");
    assert_eq!(number.get(), "1e400", "numbers stay as written");
    assert_eq!(kinds(&by_name(dir.path(), "net")), ["inline", "a", "b"]);
    for name in ["alone.conflist", "no-directory.conflist"] {
        assert_eq!(
            kinds(&from_file(&dir.path().join(name))),
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
            from_file(&dir.path().join("n.conflist")),
            by_name(dir.path(), "net"),
        ] {
            let error = result.expect_err(broken);
            assert!(error.to_string().contains("net/15.conf"), "{error}");
        }
    }
}

#[test]
fn a_list_can_disable_the_plugins_beside_it_and_a_single_plugin_never_gets_them() {
    plexus_api::rows!("R-010");
    let only = r#"{"cniVersion":"1.0.0","name":"net","loadOnlyInlinedPlugins":true,"plugins":[{"type":"inline"}]}"#;
    let dir = dir(&[
        ("a.conflist", only),
        ("a.conf", &single("net", "single")),
        ("net/10-a.conf", r#"{"type":"a"}"#),
    ]);
    assert_eq!(
        kinds(&from_file(&dir.path().join("a.conflist"))),
        ["inline"]
    );
    assert_eq!(kinds(&from_file(&dir.path().join("a.conf"))), ["single"]);
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
        let error = from_file(&dir.path().join(path)).expect_err(path);
        assert!(
            matches!(error, DiskError::Invalid { .. })
                && error.to_string().contains("\"net\"")
                && error.to_string().contains(path),
            "{error}"
        );
    }
    fs::create_dir(dir.path().join("full/net")).expect("directory");
    fs::write(dir.path().join("full/net/1.conf"), r#"{"type":"a"}"#).expect("plugin");
    assert_eq!(
        kinds(&from_file(&dir.path().join("full/a.conflist"))),
        ["a"]
    );
}

#[test]
fn a_list_in_a_file_for_a_single_plugin_is_an_error() {
    plexus_api::rows!("R-014");
    let both =
        r#"{"cniVersion":"1.0.0","name":"both","type":"single","plugins":[{"type":"list"}]}"#;
    let dir = dir(&[
        ("10.conf", &list("n", &["x"])),
        ("20.json", &list("n", &["x"])),
        ("30.conf", both),
        ("40.conflist", &list("n", &["good"])),
    ]);
    for name in ["10.conf", "20.json"] {
        let error = from_file(&dir.path().join(name)).expect_err("a list");
        assert!(error.to_string().contains(".conflist"), "{error}");
    }
    assert_eq!(kinds(&from_file(&dir.path().join("30.conf"))), ["single"]);
    assert_eq!(kinds(&from_directory(dir.path())), ["single"]);
    assert_eq!(kinds(&by_name(dir.path(), "n")), ["good"]);
    // A path that an administrator has set may have another extension.
    fs::rename(dir.path().join("10.conf"), dir.path().join("list")).expect("rename");
    assert_eq!(kinds(&from_file(&dir.path().join("list"))), ["x"]);
}

#[test]
fn a_byte_order_mark_and_invalid_text_in_values_are_accepted() {
    let dir = dir(&[("a.conflist", &format!("\u{feff}{}", list("n", &["x"])))]);
    assert_eq!(kinds(&from_directory(dir.path())), ["x"]);
    let invalid = b"{\"name\":\"n\",\"type\":\"x\",\"description\":\"\xfcber\"}";
    fs::write(dir.path().join("a.conf"), invalid).expect("write");
    assert_eq!(kinds(&from_file(&dir.path().join("a.conf"))), ["x"]);
}

#[test]
fn a_default_network_has_a_name_a_directory_or_a_file() {
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
        assert_eq!(kinds(&network(&source, dir.path())), [kind], "{source}");
    }
    for (source, is_missing) in [
        ("none".to_owned(), true),
        (path("none.conf"), true),
        ("/dev/null".to_owned(), false),
    ] {
        let error = network(&source, dir.path()).expect_err(&source);
        assert!(
            error.is_missing() == is_missing && error.to_string().contains(&source),
            "{error}"
        );
    }
}

#[test]
fn a_directory_never_yields_a_meta_plugin() {
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
    let error = from_directory(dir.path()).expect_err("only meta-plugins");
    assert!(
        error.is_missing() && error.to_string().contains("no default network"),
        "{error}"
    );
    fs::write(dir.path().join("99.conf"), single("n", "bridge")).expect("write");
    assert_eq!(kinds(&from_directory(dir.path())), ["bridge"]);
}

#[test]
fn the_plugins_of_files_count_towards_the_limit_before_they_are_read() {
    let beside = |count: usize| {
        let dir = dir(&[("net.conflist", &list("net", &["first"]))]);
        fs::create_dir(dir.path().join("net")).expect("a directory");
        for index in 0..count {
            let text = if count < MAX_PLUGINS {
                r#"{"type":"x"}"#
            } else {
                "{"
            };
            fs::write(dir.path().join(format!("net/{index:02}.conf")), text).expect("a file");
        }
        dir
    };
    let dir = beside(MAX_PLUGINS - 1);
    let config = from_file(&dir.path().join("net.conflist")).expect("32 plugins");
    assert_eq!(config.plugins.len(), MAX_PLUGINS);
    let dir = beside(MAX_PLUGINS);
    for error in [
        from_file(&dir.path().join("net.conflist")).expect_err("33 plugins"),
        append_plugins(config, &dir.path().join("net")).expect_err("64 plugins"),
    ] {
        let text = error.to_string();
        assert!(text.contains("plugins, but may have 32"), "{text}");
    }
}

#[test]
fn the_file_to_fix_comes_first_among_the_skipped_ones() {
    let dir = tempfile::tempdir().expect("directory");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect(name);
    let meta = |kind: &str| serde_json::json!({"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": kind}]});
    write("00-plexus.conflist", &meta("plexus").to_string());
    write("10-calico.conflist", "{");
    let text = from_directory(dir.path())
        .expect_err("no network")
        .to_string();
    let positions = ["10-calico.conflist", "00-plexus.conflist"].map(|name| text.find(name));
    assert!(
        positions[0].is_some() && positions[0] < positions[1],
        "{text}"
    );
}
