//! `plexusd status` on a node with a daemon, and without.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use plexus_e2e::binaries::binary;
use plexus_e2e::plexus::{MAIN, NET_D};
use plexus_e2e::{Node, Plexus, attaches, node, skip};
use serde_json::{Value, json};

use crate::start;

fn start_installed(node: &Node) -> Plexus<'_> {
    let keys = json!({"hotplug": "on", "recoveryInterval": "1h", "orphanAfter": "1h"});
    let mut plexus = Plexus::on(node).installed().config(keys).build();
    plexus.daemon.restart();
    plexus
}

/// The output of `plexusd status -o json`, and whether the command succeeded.
fn status(plexus: &Plexus<'_>) -> (Value, bool) {
    let output = plexus.daemon.subcommand(&["status", "-o", "json"]);
    let ok = output.ok();
    (
        output.json.unwrap_or_else(|| panic!("{}", output.stderr)),
        ok,
    )
}

/// Expects these lines on a screen.
#[track_caller]
fn expect_lines(screen: &str, lines: &[&str]) {
    for line in lines {
        assert!(
            screen.lines().any(|found| found == *line),
            "{line}\nin\n{screen}"
        );
    }
}

#[test]
fn a_ready_node_has_one_screen() {
    let node = node!();
    let plexus = start_installed(&node);
    let (_sandbox, _target) = plexus.attached("web", "");
    let output = plexus.daemon.subcommand(&["status"]);
    assert!(output.ok() && output.stderr.is_empty(), "{output:?}");
    let network = node.scratch().join("default.conflist");
    let shim = node.bin_dir().join("plexus");
    let socket = node.kubelet_dir().join("pod-resources/kubelet.sock");
    expect_lines(
        &output.stdout,
        &[
            "ready            yes",
            &format!("default network  pods: main, from {}", network.display()),
            "configuration    /etc/cni/net.d/00-plexus.conflist, in place",
            &format!("shim             {}, in place", shim.display()),
            &format!(
                "devices          {}, missing; kubelet's checkpoint is used",
                socket.display()
            ),
            "hot-plug         on",
            "sandboxes        1 attached",
            "state directory  /var/lib/plexus",
        ],
    );
    let (status, ok) = status(&plexus);
    assert!(ok && status["ready"] == true, "{status}");
    let daemon = &status["daemon"];
    assert_eq!(daemon["pid"], plexus.daemon.pid());
    assert_eq!(daemon["notReady"], json!([]));
    assert_eq!(daemon["defaultNetwork"]["file"], json!(network));
    assert_eq!(
        daemon["shim"],
        json!({"path": shim, "inPlace": true}),
        "{daemon}"
    );
    assert_eq!(
        daemon["hotplug"],
        json!({"enabled": true, "pendingPods": 0})
    );
    assert_eq!(daemon["devices"]["dra"], Value::Null);
    for number in ["uptimeSeconds", "residentMemoryBytes", "eventsDropped"] {
        assert!(daemon[number].is_u64(), "{number}: {daemon}");
    }
    for number in ["limit", "runningCalls", "waitingCalls"] {
        assert!(daemon["plugins"][number].is_u64(), "{number}: {daemon}");
    }
    assert_eq!(status["ledger"]["attached"], 1);
    assert_eq!(status["ledger"]["oldestFailure"], Value::Null);
}

#[test]
fn each_reason_of_a_node_that_is_not_ready_has_its_remedy() {
    let node = node!();
    let address = "127.0.0.1:9037";
    let listener = node.run(|| TcpListener::bind(address));
    let _listener = listener.expect("bind the port");
    let keys = json!({"metricsAddress": address, "recoveryInterval": "1h"});
    let mut plexus = Plexus::on(&node).installed().config(keys).build();
    node.write(format!("{NET_D}/00-multus.conf"), "{}");
    plexus.daemon.launch();
    plexus.daemon.wait_not_ready("sorts before");
    let (_sandbox, target) = plexus.attached("web", "");
    node.plugin(MAIN, &attaches().fails("DEL", 120, "no answer"));
    plexus.runtime.del(&target).expect_code(120);
    let output = plexus.daemon.subcommand(&["status"]);
    assert_eq!(output.exit, Some(1), "{output:?}");
    assert_eq!(output.stderr, "plexusd: the node is not ready\n");
    let first = "/etc/cni/net.d/00-multus.conf sorts before /etc/cni/net.d/00-plexus.conflist";
    expect_lines(
        &output.stdout,
        &[
            "ready            no",
            &format!("                 - {first}, so the runtime loads that file"),
            "                   remedy: remove or rename it",
            "                   remedy: free the port, or set another address",
            "configuration    /etc/cni/net.d/00-plexus.conflist, not in place",
            "sandboxes        1 deleting",
        ],
    );
    let (status, ok) = status(&plexus);
    assert!(!ok && status["ready"] == false, "{status}");
    let reasons = status["daemon"]["notReady"].as_array().expect("reasons");
    let kinds: Vec<_> = reasons.iter().map(|reason| &reason["kind"]).collect();
    assert_eq!(kinds, ["config_not_first", "metrics_port"]);
    // The readiness probe has the same text.
    let readyz = plexus.daemon.get("/readyz").expect("a reply").body;
    for reason in reasons {
        let text = |key: &str| reason[key].as_str().expect("text").to_owned();
        let line = format!("{}; {}", text("text"), text("remedy"));
        assert!(readyz.contains(&line), "{line} in {readyz}");
    }
    let oldest = &status["ledger"]["oldestFailure"];
    assert_eq!(oldest["containerId"], target.container);
    assert_eq!(
        (&oldest["pod"], &oldest["failures"]),
        (&json!("default/web"), &json!(1))
    );
    assert!(
        oldest["error"].to_string().contains("no answer"),
        "{oldest}"
    );
}

#[test]
fn a_daemon_without_its_ledger_is_not_ready() {
    let node = node!();
    let mut plexus = start(&node);
    plexus.daemon.stop();
    let ledger = "/var/lib/plexus/ledger";
    node.run(|| {
        fs::remove_dir(ledger).expect("remove the directory");
        fs::write(ledger, "not a directory").expect("write a file");
    });
    plexus.daemon.launch();
    plexus.daemon.wait_not_ready(ledger);
    let (status, ok) = status(&plexus);
    assert!(!ok, "{status}");
    let reason = &status["daemon"]["notReady"][0];
    assert_eq!(reason["kind"], "starting");
    assert!(reason["text"].to_string().contains(ledger), "{reason}");
    let error = status["ledger"]["error"].to_string();
    assert!(error.contains(ledger), "{status}");
}

#[test]
fn without_a_daemon_the_state_is_read_from_disk() {
    let node = node!();
    let mut plexus = start_installed(&node);
    let (_sandbox, _target) = plexus.attached("web", "");
    plexus.daemon.kill();
    let output = plexus.daemon.subcommand(&["status"]);
    assert_eq!(output.exit, Some(1), "{output:?}");
    assert!(
        output
            .stderr
            .starts_with("plexusd: no plexusd listens at /run/plexus/plexus.sock"),
        "{output:?}"
    );
    assert_eq!(
        output.stdout,
        "plexusd          is not running; the rest of this screen is read from disk\n\
         sandboxes        1 attached\n\
         state directory  /var/lib/plexus\n"
    );
    let (status, ok) = status(&plexus);
    assert!(!ok && status["daemon"].is_null(), "{status}");
    assert_eq!(
        (&status["ready"], &status["ledger"]["attached"]),
        (&json!(false), &json!(1))
    );
}

#[test]
fn a_user_who_may_not_use_the_socket_is_sent_to_root() {
    let node = node!();
    let plexus = start(&node);
    let socket = plexus.daemon.socket();
    let dir = socket.parent().expect("a directory");
    node.run(|| fs::set_permissions(dir, fs::Permissions::from_mode(0o755)))
        .expect("set the mode");
    let mut command = Command::new(binary("plexusd"));
    command
        .arg("status")
        .uid(65534)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = match node.spawn(&mut command) {
        Ok(child) => child,
        Err(error) => skip!("cannot run a process as another user: {error}"),
    };
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!(
            "plexusd: plexusd at {}: Permission denied; run this command as root\n",
            socket.display()
        )
    );
}

#[test]
fn a_watched_status_follows_the_daemon() {
    let node = node!();
    let mut plexus = start(&node);
    let mut command = Command::new(binary("plexusd"));
    command.args(["status", "--watch"]).stdout(Stdio::piped());
    let mut watch = node.spawn(&mut command).expect("execute plexusd");
    let screen = BufReader::new(watch.stdout.take().expect("a pipe"));
    let mut lines = screen.lines().map(|line| line.expect("text"));
    assert!(lines.any(|line| line == "ready            yes"));
    plexus.daemon.stop();
    assert!(lines.any(|line| line.starts_with("plexusd          is not running")));
    watch.kill().expect("end the command");
    watch.wait().expect("an end");
}
