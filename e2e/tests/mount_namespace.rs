//! A daemon in a container: it sees neither the plugins nor the sandboxes of its node.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use plexus_e2e::binaries::binary;
use plexus_e2e::plexus::{attaches, runtime, with_keys};
use plexus_e2e::{Call, Daemon, Manifests, Node, Pod, Sandbox, Target, node};
use serde_json::{Value, json};

/// A daemon that sees no plugin and no sandbox, with `keys` in its configuration, not started yet.
fn contained(node: &Node, keys: Value) -> (Daemon<'_>, Manifests) {
    node.plugin("main", &attaches());
    node.plugin("second", &attaches());
    let manifests = Manifests::new(node.scratch().join("manifests"));
    manifests.definition("lan", &json!({"cniVersion": "1.0.0", "type": "second"}));
    // The daemon's own configuration is in its container.
    let default = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "main"}]});
    let config = with_keys(
        json!({"delegates": [default], "recoveryInterval": "50ms"}),
        keys,
    );
    let daemon = Daemon::new(node, &config, manifests.dir());
    (
        daemon.hiding([PathBuf::from("/run/netns"), node.bin_dir()]),
        manifests,
    )
}

fn pod() -> Pod {
    Pod::new("web").with_networks("lan")
}

/// That a pod starts, is checked and ends.
fn serves_a_pod(node: &Node, daemon: &Daemon<'_>, sandbox: &Sandbox<'_>) {
    let runtime = runtime(node, json!({}));
    runtime.status().expect_silence();
    let target = Target::new(sandbox, "eth0", &pod());
    let answer = runtime.add(&target);
    assert!(answer.ok(), "{answer:?}\n{}", daemon.log());
    assert!(sandbox.link("eth0").is_some() && sandbox.link("net1").is_some());
    runtime.check(&target).expect_silence();
    runtime.del(&target).expect_silence();
    assert_eq!(sandbox.links().len(), 1, "lo alone");
    let calls: Vec<_> = node.calls().iter().map(Call::summary).collect();
    assert_eq!(
        calls.iter().filter(|call| call.starts_with("DEL")).count(),
        2,
        "{calls:?}"
    );
}

#[test]
fn plugins_run_where_the_runtime_is() {
    let node = node!();
    let (mut daemon, _manifests) = contained(&node, json!({"mountNamespace": "caller"}));
    daemon.restart();
    // A sandbox that is made after the daemon has started.
    serves_a_pod(&node, &daemon, &node.sandbox("web"));
}

#[test]
fn in_its_own_mount_namespace_such_a_daemon_finds_nothing() {
    let node = node!();
    let (mut daemon, _manifests) = contained(&node, json!({}));
    daemon.restart();
    let sandbox = node.sandbox("web");
    runtime(&node, json!({}))
        .add(&Target::new(&sandbox, "eth0", &pod()))
        .expect_error(4, &["CNI_NETNS /run/netns/web"]);
}

#[test]
fn what_is_left_is_cleaned_up_where_the_last_call_came_from() {
    let node = node!();
    let (mut daemon, _manifests) = contained(&node, json!({"mountNamespace": "caller"}));
    daemon.restart();
    let runtime = runtime(&node, json!({}));
    let sandbox = node.sandbox("web");
    let target = Target::new(&sandbox, "eth0", &pod());
    assert!(runtime.add(&target).ok(), "{}", daemon.log());
    // Given a plugin whose first DEL fails, When the runtime does not come back, Then the daemon goes on alone.
    node.plugin("second", &attaches().fails("DEL", 11, "not now"));
    runtime.del(&target).expect_code(11);
    node.plugin("second", &attaches());
    daemon.wait_log("recovery: cleaned up");
    assert_eq!(sandbox.links().len(), 1, "lo alone");
}

#[test]
fn plugins_run_in_the_mount_namespace_of_a_path() {
    let node = node!();
    let mut there = Command::new("/bin/cat");
    there.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut there = node.spawn(&mut there).expect("cat can be started");
    let path = format!("/proc/{}/ns/mnt", there.id());
    let (mut daemon, _manifests) = contained(&node, json!({"mountNamespace": path}));
    daemon.restart();
    serves_a_pod(&node, &daemon, &node.sandbox("web"));
    drop(there.stdin.take());
    there.wait().expect("it ends with its input");
}

#[test]
fn plugins_run_below_a_root_that_is_mounted() {
    let node = node!();
    let root = node.scratch().join("hostroot");
    fs::create_dir(&root).expect("a directory can be made");
    let sandbox = node.sandbox("web");
    let (daemon, _manifests) = contained(&node, json!({"chrootDir": root}));
    let mut daemon = daemon.with_root_at(root);
    daemon.restart();
    serves_a_pod(&node, &daemon, &sandbox);
}

#[test]
fn a_root_that_is_not_mounted_is_passed_over() {
    let node = node!();
    let root = node.scratch().join("hostroot");
    fs::create_dir(&root).expect("a directory can be made");
    let (mut daemon, _manifests) = contained(
        &node,
        json!({"chrootDir": root, "mountNamespace": "caller"}),
    );
    daemon.restart();
    daemon.wait_log("nothing is mounted there");
    serves_a_pod(&node, &daemon, &node.sandbox("web"));
}

#[test]
fn a_path_that_is_no_mount_namespace_stops_the_start() {
    let node = node!();
    let (mut daemon, _manifests) = contained(&node, json!({"mountNamespace": "/proc/self/ns/net"}));
    daemon.launch();
    assert!(!daemon.wait_end().success());
    assert!(
        daemon.log().contains("mountNamespace /proc/self/ns/net"),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_daemon_does_not_answer_the_readiness_probe_of_another_container() {
    let node = node!();
    let (mut daemon, _manifests) = contained(&node, json!({"mountNamespace": "caller"}));
    daemon.restart();
    let probe = |namespaces: &[&str], what: &str| {
        let mut command = Command::new(namespaces[0]);
        command
            .args(&namespaces[1..])
            .arg(binary("plexusd"))
            .args(["probe", what]);
        let output = node.run(|| command.output()).expect("it can be executed");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (pid, there) = (daemon.pid().to_string(), ["nsenter", "--mount", "--target"]);
    let there = [&there[..], &[pid.as_str()]].concat();
    assert_eq!(probe(&there, "ready"), (true, String::new()));
    let (well, said) = probe(&["env"], "ready");
    assert!(
        !well && said.contains(&format!("runs in another container (pid {pid})")),
        "{said}"
    );
    // Or one that stands by would be ended.
    assert_eq!(probe(&["env"], "live"), (true, String::new()));
}

#[test]
fn without_the_hosts_processes_a_call_is_told_what_is_missing() {
    let node = node!();
    let (daemon, _manifests) = contained(&node, json!({"mountNamespace": "caller"}));
    let mut daemon = daemon.with_own_pids();
    daemon.restart();
    let sandbox = node.sandbox("web");
    runtime(&node, json!({}))
        .add(&Target::new(&sandbox, "eth0", &pod()))
        .expect_error(11, &["hostPID: true"]);
    assert!(daemon.log().contains("hostPID: true"), "{}", daemon.log());
    assert!(node.calls().is_empty(), "no plugin ran in the wrong place");
}
