//! Each fault and the check that names it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use nix::sys::signal::Signal;
use plexus_e2e::binaries::binary;
use plexus_e2e::json::with_keys;
use plexus_e2e::plexus::{DEFAULT_NETWORK_FILE, PUBLISHED};
use plexus_e2e::{Node, Plexus, Script, attaches, node};
use serde_json::json;

use crate::{Diagnosis, installed, options};

/// A fault of a node, and the finding that names it.
pub(crate) struct Fault {
    pub(crate) make: fn(&mut Plexus<'_>),
    /// The check and the texts of the first finding.
    pub(crate) check: &'static str,
    pub(crate) texts: &'static [&'static str],
}

/// Runs a command on the node. Its arguments are separated by spaces.
pub(crate) fn run(node: &Node, command: &str) {
    let mut words = command.split(' ');
    let mut process = Command::new(words.next().expect("a program"));
    let status = node.run(|| process.args(words).status());
    assert!(status.expect(command).success(), "{command}");
}

/// Makes each fault on a node of its own.
fn check_all(faults: &[Fault]) {
    for Fault { make, check, texts } in faults {
        let node = node!();
        let mut plexus = installed(&node);
        make(&mut plexus);
        Diagnosis::of(&node, &options(&plexus)).expect_failed(check, texts);
    }
}

/// Stops the daemon and starts it with other keys, which it may refuse.
pub(crate) fn restart_with(plexus: &mut Plexus<'_>, keys: serde_json::Value) {
    plexus.daemon.stop();
    plexus
        .daemon
        .configure(&with_keys(plexus.config.clone(), keys));
    plexus.daemon.launch();
}

#[test]
fn faults_of_the_daemon_are_named() {
    check_all(&[
        Fault {
            make: |plexus| restart_with(plexus, json!({"addTimeout": 30})),
            check: "configuration",
            texts: &["daemon-config.json", "addTimeout", "a duration"],
        },
        Fault {
            make: |plexus| restart_with(plexus, json!({"mountNamespace": "/missing"})),
            check: "mount-namespace",
            texts: &["/missing"],
        },
        Fault {
            make: |plexus| {
                plexus.daemon.stop();
                run(plexus.node, "mount -t tmpfs -o ro tmpfs /var/lib/plexus");
                plexus.daemon.launch();
            },
            check: "state-directory",
            texts: &["/var/lib/plexus", "read-only", "mount it writable"],
        },
        Fault {
            make: |plexus| plexus.daemon.kill(),
            check: "socket",
            texts: &["plexus.sock", "no plexusd listens", "start plexusd"],
        },
        Fault {
            make: |plexus| plexus.daemon.signal(Signal::SIGSTOP),
            check: "socket",
            texts: &["does not respond", "restart plexusd"],
        },
    ]);
}

#[test]
fn faults_of_the_default_network_are_named() {
    check_all(&[
        Fault {
            make: |plexus| {
                let file = plexus.node.scratch().join(DEFAULT_NETWORK_FILE);
                fs::remove_file(file).expect("remove the file");
            },
            check: "default-network",
            texts: &["default.conflist", "No such file"],
        },
        Fault {
            make: |plexus| {
                let file = plexus.node.scratch().join(DEFAULT_NETWORK_FILE);
                fs::write(file, "{").expect("write the file");
            },
            check: "default-network",
            texts: &["default.conflist", "repair its file"],
        },
        Fault {
            make: |plexus| {
                let main = plexus.node.bin_dir().join("main");
                fs::remove_file(main).expect("remove the plugin");
            },
            check: "plugins",
            texts: &[
                "pods",
                "\\\"main\\\" is in none of the plugin directories",
                "install it",
            ],
        },
        Fault {
            make: |plexus| {
                let main = plexus.node.bin_dir().join("main");
                fs::remove_file(&main).expect("remove the plugin");
                fs::write(&main, "").expect("write a file");
                fs::set_permissions(&main, fs::Permissions::from_mode(0o644))
                    .expect("set the mode");
            },
            check: "plugins",
            texts: &["is not executable", "check its mode"],
        },
        Fault {
            make: |plexus| {
                let answer = r#"{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}"#;
                let old = attaches().on("VERSION", [plexus_e2e::Step::Stdout(answer.into())]);
                plexus.node.plugin("main", &old);
            },
            check: "plugins",
            texts: &["0.4.0, 1.0.0", "cniVersion 1.1.0", "update the plugin"],
        },
    ]);
}

#[test]
fn faults_of_the_installation_are_named() {
    check_all(&[
        Fault {
            make: |plexus| {
                let other = json!({"cniVersion": "1.0.0", "name": "x", "type": "main"});
                plexus
                    .node
                    .write("/etc/cni/net.d/00-a.conf", other.to_string());
            },
            check: "runtime-configuration",
            texts: &["00-a.conf", "sorts before", "remove or rename it"],
        },
        Fault {
            make: |plexus| {
                let fails = Script::new().fails("STATUS", 50, "the switch is down");
                plexus.node.plugin("main", &fails);
            },
            check: "round-trip",
            texts: &["STATUS", "the switch is down"],
        },
    ]);
}

#[test]
fn a_port_in_use_is_named_as_a_reason_of_readiness() {
    let node = node!();
    let mut plexus = installed(&node);
    let address = "127.0.0.1:9997";
    let _listener = node
        .run(|| TcpListener::bind(address))
        .expect("bind the port");
    restart_with(&mut plexus, json!({"metricsAddress": address}));
    plexus.daemon.wait_not_ready("metricsAddress");
    let diagnosis = Diagnosis::of(&node, &options(&plexus));
    diagnosis.expect_failed("readiness", &[address]);
}

#[test]
fn a_daemon_without_free_file_descriptors_is_named_before_its_silence() {
    let node = node!();
    let plexus = installed(&node);
    run(
        &node,
        &format!("prlimit --pid {} --nofile=5:", plexus.daemon.pid()),
    );
    let diagnosis = Diagnosis::of(&node, "");
    diagnosis.expect_failed("limits", &["of 5 files are open", "LimitNOFILE"]);
}

#[test]
fn a_damaged_installation_is_named_while_no_daemon_restores_it() {
    let node = node!();
    let mut plexus = installed(&node);
    plexus.daemon.kill();
    fs::write(node.bin_dir().join("plexus"), "another").expect("write the shim");
    node.run(|| fs::remove_file(PUBLISHED))
        .expect("remove the file");
    let diagnosis = Diagnosis::of(&node, &options(&plexus));
    let expected = ["socket", "shim", "runtime-configuration"];
    assert_eq!(diagnosis.checks(), expected, "{:#}", diagnosis.json);
    let text = diagnosis.json.to_string();
    for part in [
        "bin/plexus is not the same as",
        "00-plexus.conflist is missing",
    ] {
        assert!(text.contains(part), "{part}: {:#}", diagnosis.json);
    }
}

#[test]
fn a_missing_privilege_is_named() {
    let node = node!();
    let plexus = installed(&node);
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"])
        .arg(binary("plexusd"))
        .arg("doctor")
        .args(options(&plexus).split(' '));
    let diagnosis = Diagnosis::run(&node, command);
    diagnosis.expect_failed("privileges", &["CAP_SYS_PTRACE", "run it as root"]);
}

#[test]
fn a_key_without_effect_is_a_warning() {
    let node = node!();
    let mut plexus = installed(&node);
    restart_with(&mut plexus, json!({"addTimout": "3s"}));
    plexus.daemon.wait_ready();
    let diagnosis = Diagnosis::of(&node, "");
    assert_eq!(diagnosis.exit_code, Some(1), "{:#}", diagnosis.json);
    diagnosis.expect_first("warning", "configuration", &["addtimout", "did you mean"]);
}
