//! The socket: who may call, what it answers, and how it is when nobody answers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use plexus_api::rows;
use plexus_api::wire::{MAX_REQUEST, Request};
use plexus_e2e::binaries::binary;
use plexus_e2e::{Daemon, Manifests, node, skip};
use serde_json::{Value, json};

use crate::plexus::{Plexus, attaches, runtime};

#[test]
fn the_socket_is_roots_alone() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let socket = plexus.daemon.socket().to_owned();
    let mode = |path: &std::path::Path| {
        node.run(|| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
                & 0o777
        })
    };
    assert_eq!(
        (mode(&socket), mode(socket.parent().expect("a directory"))),
        (0o600, 0o700)
    );
}

#[test]
fn a_directory_of_the_machine_is_not_closed() {
    let node = node!();
    node.run(|| {
        fs::set_permissions("/run", fs::Permissions::from_mode(0o755)).expect("it is the node's");
    });
    let manifests = Manifests::new(node.scratch().join("manifests"));
    let mut daemon = Daemon::new(
        &node,
        &json!({"daemonSocketDir": "/run", "delegates": [{}]}),
        manifests.dir(),
    );
    daemon.launch();
    assert!(!daemon.wait_end().success());
    assert!(
        daemon
            .log()
            .contains("/run: the socket needs a directory of its own"),
        "{}",
        daemon.log()
    );
    assert_eq!(
        node.run(|| fs::metadata("/run")
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777),
        0o755
    );
}

#[test]
fn another_user_is_not_answered() {
    let node = node!();
    let plexus = Plexus::start(&node);
    // Somebody has opened the way; the peer's credentials still count.
    let socket = plexus.daemon.socket().to_owned();
    node.run(|| {
        let open = |path: &std::path::Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
        };
        open(socket.parent().expect("a directory"), 0o755)
            .and_then(|()| open(&socket, 0o666))
            .expect("they are ours");
    });
    let mut shim = Command::new(binary("plexus"));
    shim.env_clear()
        .env("CNI_COMMAND", "STATUS")
        .env("CNI_PATH", "/bin")
        .uid(65534);
    shim.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match node.spawn(&mut shim) {
        Ok(child) => child,
        Err(error) => skip!("no process can be another user's here: {error}"),
    };
    let config = json!({"cniVersion": "1.1.0", "name": "plexus", "daemonWaitStatus": "10ms"});
    serde_json::to_writer(child.stdin.take().expect("it is piped"), &config).expect("it reads");
    let answer: plexus_e2e::Answer = child.wait_with_output().expect("it ends").into();
    answer.expect_error(50, &["refuse this user"]);
    assert!(
        plexus.daemon.log().contains("65534"),
        "{}",
        plexus.daemon.log()
    );
    plexus.runtime.status().expect_silence();
}

#[test]
fn health_and_readiness_are_told_in_both_ways() {
    let node = node!();
    let plexus = Plexus::start(&node);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            plexus.daemon.get(path).expect("an answer").status,
            200,
            "{path}"
        );
    }
    assert_eq!(
        plexus
            .daemon
            .post("/healthz", b"null")
            .expect("an answer")
            .status,
        200
    );
    assert_eq!(plexus.daemon.get("/cni").expect("an answer").status, 405);
    assert_eq!(plexus.daemon.get("/").expect("an answer").status, 404);
}

#[test]
fn requests_that_are_none_are_refused_and_do_no_harm() {
    rows!("P-001", "P-030", "P-043");
    let node = node!();
    let plexus = Plexus::start(&node);
    let config = json!({"cniVersion": "1.1.0", "name": "plexus"}).to_string();
    let request = |command: &str, config: &str| {
        let env = [("CNI_COMMAND".to_owned(), command.to_owned())].into();
        serde_json::to_vec(&Request {
            env,
            config: config.into(),
            at: None,
        })
        .expect("a request is JSON")
    };
    let note = "x".repeat(MAX_REQUEST);
    for (body, code, part) in [
        (b"".to_vec(), 6, "JSON"),
        (b"null".to_vec(), 6, "JSON"),
        (b"{\"env\": {}, \"config\": \"!\"}".to_vec(), 6, "JSON"),
        (request("NOPE", &config), 4, "NOPE"),
        (request("STATUS", "{"), 6, "JSON"),
        (request("STATUS", "{}"), 7, "name"),
        (request("ADD", &config), 4, "CNI_CONTAINERID"),
        (
            request(
                "STATUS",
                &json!({"cniVersion": "1.1.0", "name": "plexus", "note": note}).to_string(),
            ),
            6,
            "4194304",
        ),
    ] {
        let reply = plexus.daemon.post("/cni", &body).expect("an answer");
        let error: Value =
            serde_json::from_str(&reply.body).unwrap_or_else(|_| panic!("{reply:?}"));
        assert_eq!(
            (reply.status, &error["code"]),
            (400, &json!(code)),
            "{reply:?}"
        );
        assert!(
            error["msg"]
                .as_str()
                .is_some_and(|msg| msg.contains(part) && !msg.contains('\n')),
            "{reply:?}"
        );
    }
    assert_eq!(plexus.calls(), [""; 0]);
    plexus.runtime.status().expect_silence();
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
    let impatient = runtime(&node, json!({"daemonWaitAdd": "10ms"}));
    impatient
        .add(&target)
        .expect_error(11, &["plexusd", "/run/plexus/plexus.sock"]);
}

#[test]
fn a_del_while_the_daemon_is_away_is_done_when_it_is_back() {
    rows!("P-094");
    let node = node!();
    let mut plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    for (name, policy) in [("strict", "retry"), ("lenient", "spool")] {
        let (sandbox, target) = plexus.attached(name, "a");
        plexus.daemon.stop();
        let runtime = runtime(
            &node,
            json!({"daemonWaitDel": "10ms", "delWhenDown": policy}),
        );
        let answer = runtime.del(&target);
        if policy == "retry" {
            answer.expect_error(11, &["plexusd"]);
        } else {
            answer.expect_silence();
        }
        node.forget_calls();
        plexus.daemon.restart();
        plexus.wait_spool(&[]);
        assert_eq!(plexus.calls(), ["DEL a net1", "DEL main eth0"], "{name}");
        plexus.assert_nothing_left(&sandbox);
    }
}
