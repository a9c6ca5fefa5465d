//! The environment of a call: verbs, required variables and valid names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use plexus_api::cni::{
    CniEnv, CniError, Verb, validate_container_id, validate_ifname, validate_pod_argument,
};
use plexus_api::{quote, rows};

const VERBS: [(&str, Verb); 6] = [
    ("ADD", Verb::Add),
    ("DEL", Verb::Del),
    ("CHECK", Verb::Check),
    ("STATUS", Verb::Status),
    ("GC", Verb::Gc),
    ("VERSION", Verb::Version),
];

/// A complete environment for `verb`, with `changes`.
fn env(verb: &str, changes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let full = [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/a"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "A=b"),
        ("CNI_PATH", "/opt/cni/bin"),
    ];
    full.iter()
        .chain(changes)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn check(verb: &str, changes: &[(&str, &str)]) -> Result<CniEnv, CniError> {
    CniEnv::from_map(&env(verb, changes))
}

#[test]
fn only_the_six_verbs_are_accepted() {
    rows!("P-001");
    for (text, verb) in VERBS {
        assert_eq!(Verb::parse(text), Ok(verb));
        assert_eq!(verb.as_str(), text);
        assert_eq!(verb.to_string(), text);
        assert_eq!(check(text, &[]).expect(text).verb, verb);
    }
    for text in ["NOPE", "add", "Add", "", " ADD", "ADD\n"] {
        let error = check(text, &[]).expect_err(text);
        assert_eq!(error.code, 4);
        assert!(
            error.msg.contains(&format!("{text:?}"))
                && error.msg.contains("CHECK, STATUS, GC, VERSION"),
            "{error}"
        );
    }
    assert_eq!(
        CniEnv::from_map(&BTreeMap::new())
            .expect_err("no verb")
            .code,
        4
    );
}

#[test]
fn each_verb_requires_its_own_variables() {
    rows!("P-003", "P-005", "P-020");
    let needs: [(&str, &[&str]); 6] = [
        ("ADD", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
        ("CHECK", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
        ("DEL", &["CNI_CONTAINERID", "CNI_IFNAME"]),
        ("GC", &["CNI_PATH"]),
        ("STATUS", &[]),
        ("VERSION", &[]),
    ];
    for (verb, needed) in needs {
        for variable in [
            "CNI_CONTAINERID",
            "CNI_NETNS",
            "CNI_IFNAME",
            "CNI_ARGS",
            "CNI_PATH",
        ] {
            let mut removed = env(verb, &[]);
            removed.remove(variable);
            // Empty counts as unset.
            for given in [removed, env(verb, &[(variable, "")])] {
                match CniEnv::from_map(&given) {
                    Ok(_) => assert!(
                        !needed.contains(&variable),
                        "{verb} was accepted without {variable}"
                    ),
                    Err(error) => {
                        assert!(
                            needed.contains(&variable),
                            "{verb} without {variable}: {error}"
                        );
                        assert_eq!(error.code, 4);
                        assert!(
                            error.msg.contains(variable) && error.msg.contains(verb),
                            "{error}"
                        );
                        for other in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"] {
                            assert!(other == variable || !error.msg.contains(other), "{error}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn one_error_names_all_missing_variables() {
    rows!("P-004");
    let given = [("CNI_NETNS", ""), ("CNI_IFNAME", ""), ("CNI_PATH", "")];
    let error = check("ADD", &given).expect_err("missing variables");
    assert_eq!(error.code, 4);
    for variable in ["CNI_NETNS", "CNI_IFNAME", "CNI_PATH"] {
        assert!(error.msg.contains(variable), "{error}");
    }
    assert!(!error.msg.contains("CNI_CONTAINERID"), "{error}");
    // A required variable is named only once.
    let error = check("GC", &[("CNI_PATH", "")]).expect_err("CNI_PATH is required");
    assert_eq!(error.msg.matches("CNI_PATH").count(), 1, "{error}");
}

#[test]
fn verbs_without_a_container_ignore_its_variables() {
    rows!("P-005");
    let nothing = [
        ("CNI_CONTAINERID", ""),
        ("CNI_NETNS", ""),
        ("CNI_IFNAME", ""),
        ("CNI_ARGS", ""),
    ];
    for verb in ["STATUS", "GC", "VERSION"] {
        let env = check(verb, &nothing).expect(verb);
        assert_eq!(
            (env.container_id.as_str(), env.ifname.as_str(), env.netns),
            ("", "", None)
        );
        // These variables are not validated.
        let env = check(verb, &[("CNI_CONTAINERID", "-x"), ("CNI_IFNAME", "a/b")]).expect(verb);
        assert_eq!((env.container_id.as_str(), env.ifname.as_str()), ("", ""));
    }
}

#[test]
fn all_variables_are_kept() {
    for verb in ["ADD", "DEL", "CHECK"] {
        let env = check(verb, &[]).expect(verb);
        assert_eq!(env.container_id, "c1");
        assert_eq!(env.netns.as_deref(), Some("/run/netns/a"));
        assert_eq!(env.ifname, "eth0");
        assert_eq!(env.args, "A=b");
        assert!(!env.netns_override);
    }
    let env = check("DEL", &[("CNI_NETNS", ""), ("CNI_ARGS", "")]).expect("both are optional");
    assert_eq!((env.netns, env.args.as_str()), (None, ""));
}

#[test]
fn netns_override_is_1_or_true() {
    for (value, allowed) in [
        ("1", true),
        ("true", true),
        ("TRUE", true),
        ("True", true),
        ("yes", false),
        ("0", false),
        ("false", false),
        ("", false),
    ] {
        assert_eq!(
            check("ADD", &[("CNI_NETNS_OVERRIDE", value)])
                .expect("valid")
                .netns_override,
            allowed,
            "{value}"
        );
    }
}

#[test]
fn container_ids_are_validated() {
    rows!("P-006", "P-007");
    let hex = "0123456789abcdef".repeat(4);
    let longest = "a".repeat(200);
    for id in ["a", "0", "Z", "abc_1.2-x", &hex, "a..b", &longest] {
        assert_eq!(validate_container_id(id), Ok(()), "{id}");
        for verb in ["ADD", "CHECK", "DEL"] {
            assert_eq!(
                check(verb, &[("CNI_CONTAINERID", id)])
                    .expect(id)
                    .container_id,
                id
            );
        }
    }
    let too_long = "a".repeat(201);
    for id in [
        "-a", ".a", "_a", "a/b", "a b", "a\n", "ä", "aä", "../x", "a\0", &too_long,
    ] {
        for verb in ["ADD", "CHECK", "DEL"] {
            let error = check(verb, &[("CNI_CONTAINERID", id)]).expect_err(id);
            assert_eq!(error.code, 4);
            assert!(
                error.msg.contains("CNI_CONTAINERID") && error.msg.contains(&quote(id).to_string()),
                "{error}"
            );
        }
    }
    assert!(validate_container_id("").is_err());
    assert!(
        validate_container_id(&too_long)
            .expect_err("too long")
            .to_string()
            .contains("200")
    );
}

#[test]
fn interface_names_are_validated() {
    rows!("P-008", "P-009");
    let longest = "a".repeat(15);
    for name in ["eth0", &longest, "...", "net1.100", "é", "a-b_c"] {
        assert_eq!(validate_ifname(name), Ok(()), "{name}");
        for verb in ["ADD", "CHECK", "DEL"] {
            assert_eq!(
                check(verb, &[("CNI_IFNAME", name)]).expect(name).ifname,
                name
            );
        }
    }
    let (too_long, bytes) = ("a".repeat(16), "é".repeat(8));
    for (name, why) in [
        (too_long.as_str(), "longer than 15"),
        (&bytes, "longer than 15"),
        (".", "directory"),
        ("..", "directory"),
        ("a/b", "'/'"),
        ("a:b", "':'"),
        ("net%d", "'%'"),
        ("a b", "white space"),
        ("a\tb", "white space"),
        ("a\u{a0}", "white space"),
        ("a\u{2003}b", "white space"),
        ("a\u{7f}", "control"),
        ("a\0", "control"),
        ("a\u{fffd}", "UTF-8"),
    ] {
        for verb in ["ADD", "CHECK", "DEL"] {
            let error = check(verb, &[("CNI_IFNAME", name)]).expect_err(name);
            assert_eq!(error.code, 4);
            assert!(
                error.msg.starts_with("CNI_IFNAME: ") && error.msg.contains(why),
                "{error}"
            );
            assert!(error.msg.contains(&format!("{name:?}")), "{error}");
        }
    }
    assert!(
        validate_ifname("")
            .expect_err("empty")
            .to_string()
            .contains("is empty")
    );
}

#[test]
fn the_path_keeps_absolute_directories_in_order() {
    rows!("P-020");
    for (path, expected) in [
        ("/a::/b", &["/a", "/b"][..]),
        ("", &[]),
        (":", &[]),
        ("bin:/b:./c:..", &["/b"]),
        ("/b:/a", &["/b", "/a"]),
    ] {
        let expected: Vec<_> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(
            check("ADD", &[("CNI_PATH", path)]).expect(path).path,
            expected,
            "{path}"
        );
    }
}

#[test]
fn invalid_pod_arguments_are_refused() {
    let name = "a".repeat(253);
    for (key, value) in [
        ("K8S_POD_NAMESPACE", "kube-system"),
        ("K8S_POD_NAME", "web-0.1x"),
        ("K8S_POD_NAME", name.as_str()),
        // Names of pods in critest.
        ("K8S_POD_NAME", "PodSandbox-for-Test_1"),
        ("K8S_POD_NAMESPACE", "cri-test-Namespace"),
        ("K8S_POD_UID", "0902664a-e9ce-48a6-abd6-def9809c0a84"),
        // The UID of a static pod.
        ("K8S_POD_UID", "8ee9f9f5e2b4d3cbe40e9a2f1ad3cb32"),
        ("K8S_POD_INFRA_CONTAINER_ID", "../"),
    ] {
        assert_eq!(validate_pod_argument(key, value), Ok(()), "{key} {value}");
    }
    let long_name = format!("{name}c");
    let invalid = [
        "",
        ".",
        "..",
        "a/b",
        "../a",
        "a\nb",
        "a b",
        "a\u{1b}[31m",
        "a\0",
        "ä",
        "-a",
    ];
    for (key, value) in ["K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID"]
        .map(|key| invalid.map(|value| (key, value)))
        .into_iter()
        .flatten()
        .chain([("K8S_POD_NAME", &*long_name)])
    {
        let error = CniError::from(validate_pod_argument(key, value).expect_err(value));
        assert!(
            error.code == 4 && error.msg.contains(key) && error.msg.len() < 300,
            "{error}"
        );
        assert!(!error.msg.contains(|c: char| c.is_control()), "{error}");
    }
}
