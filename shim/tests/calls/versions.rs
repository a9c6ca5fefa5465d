//! VERSION, and the version of the configuration.

use std::io::Read as _;
use std::time::{Duration, Instant};

use plexus_api::rows;
use serde_json::json;

use crate::support::{Node, add_response, response};

const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

#[test]
fn version_needs_only_cni_command() {
    rows!("P-060", "P-061", "P-062");
    let cases = [
        (r#"{"cniVersion":"0.4.0"}"#, "0.4.0"),
        (r#"{"cniVersion":"1.1.0","name":"-"}"#, "1.1.0"),
        (r#"{"cniVersion":"1.1.0","cniversion":"0.4.0"}"#, "0.4.0"),
        ("", "1.1.0"),
        ("{", "1.1.0"),
        (r#"{"cniVersion":4}"#, "1.1.0"),
        (r#"{"cniVersion":"9.9.9"}"#, "1.1.0"),
    ];
    for (stdin, echoed) in cases {
        let env = [("CNI_COMMAND", "VERSION")].into();
        let document = Node::new()
            .shim("VERSION")
            .envs(&env)
            .stdin(stdin)
            .run()
            .result();
        assert_eq!(
            document,
            json!({"cniVersion": echoed, "supportedVersions": VERSIONS}),
            "{stdin}"
        );
    }
}

#[test]
fn version_does_not_wait_for_stdin() {
    rows!("P-061");
    // The fastest of several runs, since the machine may be busy.
    let fastest = (0..5).map(|_| {
        let started = Instant::now();
        let mut child = Node::new().shim("VERSION").spawn();
        let mut stdout = String::new();
        child
            .stdout
            .take()
            .expect("stdout")
            .read_to_string(&mut stdout)
            .expect("read");
        let elapsed = started.elapsed();
        assert!(stdout.contains("supportedVersions"), "{stdout}");
        // Stdin was open until here.
        assert!(child.stdin.take().is_some() && child.wait().expect("wait").success());
        elapsed
    });
    assert!(fastest.min() < Some(Duration::from_millis(100)));
}

#[test]
fn a_flag_prints_the_version() {
    for flag in ["-v", "-version", "--version"] {
        let finished = Node::new().shim("").arg(flag).run();
        assert_eq!(
            finished.stdout,
            format!("plexus {}\n", plexus_api::version())
        );
        assert_eq!(finished.code, Some(0));
    }
}

#[test]
fn only_a_listed_version_is_supported() {
    rows!("P-063");
    for version in ["1.2.0", "2.0.0", "1.0", "v1.0.0"] {
        for verb in ["ADD", "DEL"] {
            let node = Node::new();
            let daemon = node.unused_daemon();
            let error = node
                .shim(verb)
                .stdin(node.config(json!({"cniVersion": version})))
                .run()
                .error();
            assert_eq!(
                (error.code, error.version.as_str()),
                (1, "1.1.0"),
                "{verb} {version}"
            );
            assert!(
                error.details.contains(version) && error.details.contains("0.3.1"),
                "{error:?}"
            );
            daemon.assert_unused();
        }
    }
}

#[test]
fn a_verb_needs_the_version_that_introduced_it() {
    rows!("P-065", "P-066");
    for (verb, since) in [
        ("ADD", "0.1.0"),
        ("DEL", "0.1.0"),
        ("CHECK", "0.4.0"),
        ("GC", "1.1.0"),
        ("STATUS", "1.1.0"),
    ] {
        for version in VERSIONS {
            let node = Node::new();
            let daemon = node.daemon([ipv4_response()]);
            let finished = node
                .shim(verb)
                .stdin(node.config(json!({"cniVersion": version})))
                .run();
            let handled = version >= since;
            if handled {
                assert_eq!(finished.code, Some(0), "{verb} {version}: {finished:?}");
            } else {
                let error = finished.error();
                assert_eq!(
                    (error.code, error.version.as_str()),
                    (1, version),
                    "{verb} {version}"
                );
                assert!(error.msg.contains(verb), "{error:?}");
            }
            assert_eq!(
                daemon.calls().len(),
                usize::from(handled),
                "{verb} {version}"
            );
        }
    }
}

#[test]
fn a_result_is_printed_in_the_version_of_the_configuration() {
    rows!("P-064", "P-067");
    for version in VERSIONS
        .map(|version| json!(version))
        .into_iter()
        .chain([json!(""), json!(null)])
    {
        let node = Node::new();
        let _daemon = node.daemon([ipv4_response()]);
        let result = node
            .shim("ADD")
            .stdin(node.config(json!({"cniVersion": version})))
            .run()
            .result();
        let version = version
            .as_str()
            .filter(|version| !version.is_empty())
            .unwrap_or("0.1.0");
        assert_eq!(result["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!(result["ip4"]["ip"], "10.1.2.3/24", "{version}: {result}");
            assert!(
                result.get("ips").is_none() && result.get("interfaces").is_none(),
                "{version}: {result}"
            );
        } else {
            assert_eq!(
                result["ips"][0]["address"], "10.1.2.3/24",
                "{version}: {result}"
            );
            assert_eq!(
                result["ips"][0].get("version").is_some(),
                version < "1.0.0",
                "{version}: {result}"
            );
            assert_eq!(
                result["interfaces"][0].get("mtu").is_some(),
                version >= "1.0.0",
                "{version}: {result}"
            );
        }
    }
}

#[test]
fn a_result_that_the_version_cannot_express_is_an_error() {
    rows!("P-067");
    let node = Node::new();
    let _daemon = node.daemon([add_response()]);
    let error = node
        .shim("ADD")
        .stdin(node.config(json!({"cniVersion": "0.2.0"})))
        .run()
        .error();
    assert_eq!((error.code, error.version.as_str()), (1, "0.2.0"));
}

fn ipv4_response() -> Vec<u8> {
    let interface = json!({"name": "eth0", "mtu": 1400, "sandbox": "/run/netns/box1"});
    let ip = json!({"address": "10.1.2.3/24", "interface": 0});
    response(
        200,
        json!({"Result": {"cniVersion": "1.1.0", "interfaces": [interface], "ips": [ip]}})
            .to_string(),
    )
}
