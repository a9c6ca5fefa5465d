//! Plugins are in the control groups of the runtime, not in those of the daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use plexus_api::rows;
use plexus_e2e::binaries::binary;
use plexus_e2e::cgroup::{self, Cgroup};
use plexus_e2e::daemon::Container;
use plexus_e2e::{Flavour, Node, Plexus, Runtime, Step, attaches, node, or_skip};
use serde_json::json;

/// How many launchers plexusd keeps ready.
const READY_LAUNCHERS: usize = 4;
/// How long launchers may take to start or to end.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A daemon as in the container of the DaemonSet: it sees neither plugins nor sandboxes nor control
/// groups.
fn start(node: &Node) -> Plexus<'_> {
    let default = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "main"}]});
    let mut plexus = Plexus::on(node)
        .config(json!({
            "clusterNetwork": null, "delegates": [default], "mountNamespace": "caller",
            "recoveryInterval": "50ms",
        }))
        .container(Container {
            hidden: vec![
                PathBuf::from("/run/netns"),
                PathBuf::from("/sys/fs/cgroup"),
                node.bin_dir(),
            ],
            ..Container::default()
        })
        .build();
    plexus.daemon.restart();
    plexus
}

/// A runtime that executes the shim in `group`.
fn runtime_in<'n>(node: &'n Node, group: &Cgroup) -> Runtime<'n> {
    let joins: Vec<_> = group
        .files()
        .map(|file| format!("echo $$ > {}", file.display()))
        .collect();
    let joins = joins.join("\n");
    let program = node.scratch().join("plexus-in-cgroup");
    let shim = binary("plexus");
    let text = format!("#!/bin/sh\n{joins}\nexec {}\n", shim.display());
    fs::write(&program, text).expect("write the script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set the mode");
    let config = json!({
        "cniVersion": "1.1.0", "name": "plexus", "type": "plexus",
        "capabilities": {"io.kubernetes.cri.pod-annotations": true},
    });
    Runtime::new(node, Flavour::Containerd, program, config)
}

#[test]
fn plugins_are_in_the_control_groups_of_the_runtime() {
    rows!("R-051", "R-052");
    let node = node!();
    let of_daemon = or_skip!(Cgroup::new("daemon"));
    let of_runtime = or_skip!(Cgroup::new("runtime"));
    or_skip!(cgroup::mount_on(&node));
    let mut plexus = start(&node);
    of_daemon.join(plexus.daemon.pid());
    plexus.network("a", &attaches());
    let runtime = runtime_in(&node, &of_runtime);
    for name in ["p", "q"] {
        let (_, target) = plexus.sandbox(name, "a");
        runtime.add(&target).result();
        runtime.del(&target).expect_success();
    }
    let calls = node.calls();
    assert_eq!(calls.len(), 8);
    for call in &calls {
        let name = call.summary();
        assert_eq!(
            of_runtime.count_in(&call.cgroups),
            of_runtime.count(),
            "{name}: {}",
            call.cgroups
        );
        assert_eq!(of_daemon.count_in(&call.cgroups), 0, "{name}");
        assert_eq!((call.cwd.as_str(), call.umask.as_str()), ("/", "0022"));
        assert!(call.leaked_fds().is_empty(), "{name}: {:?}", call.fds);
        assert_eq!(call.blocked_signals, "0000000000000000", "{name}");
    }
    plexus.daemon.stop();
}

#[test]
fn a_plugin_that_a_launcher_cannot_execute_gets_no_del() {
    rows!("P-047");
    let node = node!();
    let of_daemon = or_skip!(Cgroup::new("daemon-of-launcher"));
    let of_runtime = or_skip!(Cgroup::new("runtime-of-launcher"));
    or_skip!(cgroup::mount_on(&node));
    let mut plexus = start(&node);
    of_daemon.join(plexus.daemon.pid());
    plexus.network("a", &attaches());
    let plugin = node.bin_dir().join("a");
    fs::remove_file(&plugin).expect("remove the plugin");
    fs::write(&plugin, "#!/not/there\n").expect("write the plugin");
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).expect("set the mode");
    let runtime = runtime_in(&node, &of_runtime);
    let (sandbox, target) = plexus.sandbox("p", "a");
    let parts = ["plugin \"a\"", "its interpreter or loader is missing"];
    runtime.add(&target).expect_error(102, &parts);
    assert_eq!(plexus.calls(), ["ADD main eth0", "DEL main eth0"]);
    assert_eq!(plexus.files("ledger"), [""; 0]);
    assert_eq!(sandbox.link_names(), ["lo"]);
    plexus.daemon.stop();
}

#[test]
fn a_plugin_outlives_the_control_group_of_the_daemon() {
    rows!("R-051");
    let node = node!();
    let of_daemon = or_skip!(Cgroup::new("killed-daemon"));
    let of_runtime = or_skip!(Cgroup::new("living-runtime"));
    or_skip!(cgroup::mount_on(&node));
    let mut plexus = start(&node);
    of_daemon.join(plexus.daemon.pid());
    let gate = node.gate("main");
    node.plugin("main", &attaches().on("ADD", [gate.step(), Step::link()]));
    let runtime = runtime_in(&node, &of_runtime);
    let (sandbox, target) = plexus.sandbox("p", "");
    let running = runtime.start("ADD", &target);
    let held = gate.wait();
    // containerd kills all processes of a container without a PID namespace of its own.
    of_daemon.kill();
    plexus.daemon.wait_exit();
    assert!(!running.wait().ok());

    plexus.daemon.launch();
    let deleting = runtime.start("DEL", &target);
    plexus.daemon.wait_log("still runs; waiting for its exit");
    held.release();
    deleting.wait().expect_success();
    let calls = node.calls();
    assert!(calls[0].end.is_some(), "the plugin was killed: {calls:?}");
    assert_eq!(plexus.calls(), ["ADD main eth0", "DEL main eth0"]);
    assert!(calls[1].start > calls[0].end.unwrap_or(u64::MAX));
    assert_eq!(sandbox.link_names(), ["lo"]);
    plexus.daemon.stop();
}

/// The processes on the node that wait for an order to execute a plugin.
fn launchers(node: &Node) -> Vec<Pid> {
    let is_launcher = |pid: &Pid| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|words| words == b"plexusd\0launch-plugin\0")
    };
    node.processes().into_iter().filter(is_launcher).collect()
}

/// Waits until `count` launchers run. Nothing notifies of their start.
fn wait_launchers(node: &Node, count: usize) -> Vec<Pid> {
    let end = Instant::now() + TIMEOUT;
    loop {
        let found = launchers(node);
        if found.len() == count {
            return found;
        }
        assert!(
            Instant::now() < end,
            "expected {count} launchers: {found:?}"
        );
        thread::yield_now();
    }
}

#[test]
fn a_daemon_that_stands_by_has_no_launchers() {
    rows!("R-051");
    let node = node!();
    let of_daemon = or_skip!(Cgroup::new("old-daemon"));
    let of_runtime = or_skip!(Cgroup::new("runtime-of-both"));
    or_skip!(cgroup::mount_on(&node));
    let mut plexus = start(&node);
    of_daemon.join(plexus.daemon.pid());
    let runtime = runtime_in(&node, &of_runtime);
    let (_, target) = plexus.sandbox("p", "");
    runtime.add(&target).result();
    let old = wait_launchers(&node, READY_LAUNCHERS);
    // The new daemon serves once these launchers have ended.
    let mut new = plexus.start_successor();
    runtime.check(&target).expect_success();
    let found = launchers(&node);
    assert!(!found.iter().any(|pid| old.contains(pid)), "{found:?}");
    new.stop();
    // The old daemon serves again, and starts launchers again.
    runtime.del(&target).expect_success();
    wait_launchers(&node, READY_LAUNCHERS);
    plexus.daemon.stop();
}

#[test]
fn a_plugin_that_starts_after_the_end_of_its_daemon_is_waited_for() {
    rows!("R-051");
    let node = node!();
    let of_daemon = or_skip!(Cgroup::new("stopped-daemon"));
    let of_runtime = or_skip!(Cgroup::new("stopped-runtime"));
    let frozen = or_skip!(Cgroup::new("frozen"));
    or_skip!(cgroup::mount_on(&node));
    let mut plexus = start(&node);
    of_daemon.join(plexus.daemon.pid());
    let runtime = runtime_in(&node, &of_runtime);
    let (_, first) = plexus.sandbox("first", "");
    runtime.add(&first).result();
    // The process of the next plugin gets its order, but cannot follow it yet.
    for launcher in wait_launchers(&node, READY_LAUNCHERS) {
        frozen.join(launcher.as_raw().unsigned_abs());
    }
    frozen.freeze(true);
    node.forget_calls();
    let (sandbox, target) = plexus.sandbox("p", "");
    let running = runtime.start("ADD", &target);
    wait_launchers(&node, READY_LAUNCHERS + 1);
    plexus.daemon.kill();
    assert!(!running.wait().ok());

    plexus.daemon.launch();
    let deleting = runtime.start("DEL", &target);
    plexus
        .daemon
        .wait_log("waiting for launchers of an earlier plexusd");
    frozen.freeze(false);
    deleting.wait().expect_success();
    let calls = node.calls_for(sandbox.id());
    let order: Vec<_> = calls.iter().map(|call| call.operation.as_str()).collect();
    assert_eq!(order, ["ADD", "DEL"], "no plugin may follow DEL");
    assert_eq!(sandbox.link_names(), ["lo"]);
    runtime.del(&first).expect_success();
    plexus.daemon.stop();
    // Launchers end with their daemon.
    wait_launchers(&node, 0);
}
