//! The socket: permissions, invalid requests, and calls without a daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use plexus_api::rows;
use plexus_api::wire::{MAX_REQUEST, Request};
use plexus_e2e::binaries::binary;
use plexus_e2e::{CniOutput, Node, Plexus, attaches, node, skip};
use serde_json::{Value, json};

fn mode(node: &Node, path: &Path) -> u32 {
    let metadata = node.run(|| fs::metadata(path));
    metadata.expect("a file").permissions().mode() & 0o777
}

fn set_mode(node: &Node, path: &Path, mode: u32) {
    node.run(|| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .expect("set the mode");
}

#[test]
fn only_root_can_access_the_socket() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let socket = plexus.daemon.socket();
    let dir = socket.parent().expect("a directory");
    assert_eq!((mode(&node, socket), mode(&node, dir)), (0o600, 0o700));
}

#[test]
fn the_mode_of_a_system_directory_is_not_changed() {
    let node = node!();
    let run = Path::new("/run");
    set_mode(&node, run, 0o755);
    let keys = json!({"clusterNetwork": null, "daemonSocketDir": "/run", "delegates": [{}]});
    let Plexus { mut daemon, .. } = Plexus::on(&node).config(keys).build();
    daemon.launch();
    assert!(!daemon.wait_exit().success());
    let log = daemon.log();
    assert!(
        log.contains("/run/plexus.sock: other programs share the directory; set daemonSocketDir"),
        "{log}"
    );
    assert_eq!(mode(&node, run), 0o755);
}

#[test]
fn other_users_are_rejected_even_if_they_can_open_the_socket() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let socket = plexus.daemon.socket();
    set_mode(&node, socket.parent().expect("a directory"), 0o755);
    set_mode(&node, socket, 0o666);
    let mut shim = Command::new(binary("plexus"));
    shim.env_clear()
        .env("CNI_COMMAND", "STATUS")
        .env("CNI_PATH", "/bin")
        .uid(65534)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match node.spawn(&mut shim) {
        Ok(child) => child,
        Err(error) => skip!("cannot run a process as another user: {error}"),
    };
    let config = json!({"cniVersion": "1.1.0", "name": "plexus", "daemonWaitStatus": "10ms"});
    let stdin = child.stdin.take().expect("stdin is piped");
    serde_json::to_writer(stdin, &config).expect("write the configuration");
    let output: CniOutput = child.wait_with_output().expect("wait for the shim").into();
    output.expect_error(50, &["refuses this user"]);
    let log = plexus.daemon.log();
    assert!(log.contains("65534"), "{log}");
    plexus.runtime.status().expect_success();
}

#[test]
fn health_and_readiness_accept_get_and_post() {
    let node = node!();
    let plexus = Plexus::start(&node);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(plexus.daemon.status_of(path), 200, "{path}");
    }
    let reply = plexus.daemon.post("/healthz", b"null").expect("a reply");
    assert_eq!(reply.status, 200);
    assert_eq!(plexus.daemon.status_of("/cni"), 405);
    assert_eq!(plexus.daemon.status_of("/"), 404);
}

#[test]
fn invalid_requests_are_rejected() {
    rows!("P-001", "P-030", "P-043");
    let node = node!();
    let plexus = Plexus::start(&node);
    let config = json!({"cniVersion": "1.1.0", "name": "plexus"}).to_string();
    let request = |operation: &str, config: &str| {
        let request = Request {
            env: [("CNI_COMMAND".to_owned(), operation.to_owned())].into(),
            config: config.into(),
            at: None,
        };
        serde_json::to_vec(&request).expect("a request is JSON")
    };
    let note = "x".repeat(MAX_REQUEST);
    let large = json!({"cniVersion": "1.1.0", "name": "plexus", "note": note}).to_string();
    let keys: Vec<_> = (0..257).map(|key| format!("\"k{key}\":1")).collect();
    let many_keys = format!("{{{}}}", keys.join(","));
    let variables: Vec<_> = (0..5_000).map(|key| format!("\"V{key}\":\"\"")).collect();
    let many_variables = format!("{{\"env\":{{{}}}}}", variables.join(","));
    for (body, code, part) in [
        (many_variables.into_bytes(), 6, "may have 4096"),
        (
            request("STATUS", &many_keys),
            6,
            "257 keys, but may have 256",
        ),
        (b"".to_vec(), 6, "not a valid request"),
        (b"null".to_vec(), 6, "not a valid request"),
        (
            b"{\"env\": {}, \"config\": \"!\"}".to_vec(),
            6,
            "not a valid request",
        ),
        (request("NOPE", &config), 4, "NOPE"),
        (request("STATUS", "{"), 6, "JSON"),
        (request("STATUS", "{}"), 7, "name"),
        (request("ADD", &config), 4, "CNI_CONTAINERID"),
        (request("STATUS", &large), 6, "4194304"),
    ] {
        let reply = plexus.daemon.post("/cni", &body).expect("a reply");
        let error: Value =
            serde_json::from_str(&reply.body).unwrap_or_else(|_| panic!("{reply:?}"));
        assert_eq!(
            (reply.status, &error["code"]),
            (400, &json!(code)),
            "{reply:?}"
        );
        let msg = error["msg"].as_str().unwrap_or_default();
        assert!(msg.contains(part) && !msg.contains('\n'), "{reply:?}");
    }
    assert_eq!(plexus.calls(), [""; 0]);
    plexus.runtime.status().expect_success();
}

#[test]
fn add_waits_for_a_daemon_that_starts() {
    let node = node!();
    let mut plexus = Plexus::start(&node);
    plexus.daemon.stop();
    let (_, target) = plexus.sandbox("p", "");
    let running = plexus.runtime.start("ADD", &target);
    plexus.daemon.restart();
    running.wait().result();
    plexus.daemon.stop();
    let impatient = plexus.runtime_with(json!({"daemonWaitAdd": "10ms"}));
    let output = impatient.add(&target);
    output.expect_error(11, &["plexusd", "/run/plexus/plexus.sock"]);
}

#[test]
fn a_del_without_a_daemon_is_executed_when_the_daemon_is_back() {
    rows!("P-094");
    let node = node!();
    let mut plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    for (name, policy) in [("strict", "retry"), ("lenient", "spool")] {
        let (sandbox, target) = plexus.attached(name, "a");
        plexus.daemon.stop();
        let keys = json!({"daemonWaitDel": "10ms", "delWhenDown": policy});
        let output = plexus.runtime_with(keys).del(&target);
        if policy == "retry" {
            output.expect_error(11, &["plexusd"]);
        } else {
            output.expect_success();
        }
        node.forget_calls();
        plexus.daemon.restart();
        plexus.wait_spool(&[]);
        assert_eq!(plexus.calls(), ["DEL a net1", "DEL main eth0"], "{name}");
        plexus.assert_nothing_left(&sandbox);
    }
}
