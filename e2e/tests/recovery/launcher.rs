//! The process that starts plugins in the control groups of the runtime.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plexus_api::rows;
use plexus_e2e::cgroup::Cgroup;
use plexus_e2e::{Gate, Node, PluginCall, Step, attaches, node, or_skip};
use serde_json::json;

use crate::cgroups::Separated;

/// How long a process may take to start or to end.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The launchers on the node.
fn launchers(node: &Node) -> Vec<Pid> {
    let is_launcher = |pid: &Pid| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|words| words == b"plexusd\0launch-plugins\0")
    };
    node.processes().into_iter().filter(is_launcher).collect()
}

/// The launcher of the only daemon.
fn launcher(node: &Node) -> Pid {
    let found = launchers(node);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

/// Waits for something that nothing notifies of.
fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + TIMEOUT;
    while !is_true() {
        assert!(Instant::now() < end, "{what}");
        thread::yield_now();
    }
}

fn status_of(pid: Pid) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

/// The processes whose parent is `pid`, zombies included.
fn children(pid: Pid) -> Vec<String> {
    let is_child = |status: &String| status.lines().any(|line| line == format!("PPid:\t{pid}"));
    let entries = fs::read_dir("/proc").expect("list processes").flatten();
    entries
        .filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok())
        .filter(is_child)
        .collect()
}

#[test]
fn a_plugin_that_the_launcher_cannot_execute_gets_no_del() {
    rows!("P-047");
    let node = node!();
    let mut separated = or_skip!(Separated::start(&node, "cannot-execute", json!({})));
    let Separated {
        plexus, runtime, ..
    } = &mut separated;
    let plugin = node.bin_dir().join("a");
    fs::remove_file(&plugin).expect("remove the plugin");
    fs::write(&plugin, "#!/not/there\n").expect("write the plugin");
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).expect("set the mode");
    let (sandbox, target) = plexus.sandbox("p", "a");
    let parts = ["plugin \"a\"", "its interpreter or loader is missing"];
    runtime.add(&target).expect_error(102, &parts);
    assert_eq!(plexus.calls(), ["ADD main eth0", "DEL main eth0"]);
    assert_eq!(plexus.files("ledger"), [""; 0]);
    assert_eq!(sandbox.link_names(), ["lo"]);
    plexus.daemon.stop();
}

#[test]
fn eight_plugins_run_at_once_and_leave_no_process() {
    rows!("R-052");
    let node = node!();
    let keys = json!({"maxPluginRuns": 32});
    let mut separated = or_skip!(Separated::start(&node, "eight", keys));
    let Separated {
        plexus,
        runtime,
        of_runtime,
        ..
    } = &mut separated;
    let names: Vec<_> = (0..8).map(|number| format!("n{number}")).collect();
    let gates: Vec<_> = names.iter().map(|name| node.gate(name)).collect();
    for (name, gate) in names.iter().zip(&gates) {
        plexus.network(name, &attaches().on("ADD", [gate.step(), Step::link()]));
    }
    let pods: Vec<_> = names
        .iter()
        .map(|name| plexus.sandbox(name, name))
        .collect();
    let running: Vec<_> = pods
        .iter()
        .map(|(_, target)| runtime.start("ADD", target))
        .collect();
    let held: Vec<_> = gates.iter().map(Gate::wait).collect();
    let launcher = launcher(&node);
    assert_eq!(children(launcher).len(), 8);
    drop(held);
    for call in running {
        call.wait().result();
    }
    for (_, target) in &pods {
        runtime.del(target).expect_success();
    }
    for call in node.calls() {
        assert_eq!(of_runtime.count_in(&call.cgroups), of_runtime.count());
        assert!(call.leaked_fds().is_empty(), "{:?}", call.fds);
    }
    assert_eq!(children(launcher), [""; 0], "no zombies");
    plexus.daemon.stop();
}

#[test]
fn a_plugin_that_hangs_is_killed_with_its_children_in_the_control_group_of_the_runtime() {
    rows!("R-049");
    let node = node!();
    let keys = json!({"pluginTimeout": "3s"});
    let mut separated = or_skip!(Separated::start(&node, "hangs", keys));
    let Separated {
        plexus,
        runtime,
        of_runtime,
        ..
    } = &mut separated;
    node.plugin("a", &attaches().on("ADD", [Step::HoldOutput, Step::Hang]));
    let (_, target) = plexus.sandbox("p", "a");
    runtime
        .add(&target)
        .expect_error(11, &["plugin \"a\"", "was killed: it took longer"]);
    let launcher = launcher(&node);
    wait_until("the child of the plugin has ended", || {
        of_runtime.processes() == [launcher.as_raw()].into()
    });
    assert_eq!(
        plexus.calls(),
        ["ADD main eth0", "ADD a net1", "DEL a net1", "DEL main eth0"]
    );
    // A child of a plugin that has ended is not waited for, and not killed.
    node.plugin("a", &attaches().on("ADD", [Step::HoldOutput, Step::link()]));
    runtime.add(&target).result();
    assert_eq!(of_runtime.processes().len(), 2);
    runtime.del(&target).expect_success();
    plexus.daemon.stop();
    of_runtime.kill();
}

#[test]
fn a_launcher_that_is_killed_while_idle_is_replaced() {
    rows!("R-051");
    let node = node!();
    let mut separated = or_skip!(Separated::start(&node, "idle", json!({})));
    let Separated {
        plexus,
        runtime,
        of_runtime,
        ..
    } = &mut separated;
    let (_, target) = plexus.sandbox("p", "a");
    runtime.add(&target).result();
    let first = launcher(&node);
    kill(first, Signal::SIGKILL).expect("kill the launcher");
    plexus
        .daemon
        .wait_log("the process of plexusd that starts plugins was killed");
    runtime.del(&target).expect_success();
    assert_ne!(launcher(&node), first);
    for call in node.calls() {
        assert_eq!(of_runtime.count_in(&call.cgroups), of_runtime.count());
    }
    wait_until("plexusd reaps the launcher", || status_of(first).is_empty());
    plexus.daemon.stop();
    wait_until("the launcher ends with its daemon", || {
        launchers(&node).is_empty()
    });
}

#[test]
fn a_plugin_whose_launcher_is_killed_fails_when_it_has_ended() {
    rows!("R-051", "P-047");
    let node = node!();
    let mut separated = or_skip!(Separated::start(&node, "busy", json!({})));
    let Separated {
        plexus, runtime, ..
    } = &mut separated;
    let gate = node.gate("a");
    node.plugin("a", &attaches().on("ADD", [gate.step(), Step::link()]));
    let (sandbox, target) = plexus.sandbox("p", "a");
    let running = runtime.start("ADD", &target);
    let held = gate.wait();
    kill(launcher(&node), Signal::SIGKILL).expect("kill the launcher");
    plexus
        .daemon
        .wait_log("the process of plexusd that starts plugins was killed");
    // Another pod starts and stops meanwhile.
    let (_, other) = plexus.sandbox("q", "");
    runtime.add(&other).result();
    runtime.del(&other).expect_success();
    held.release();
    let parts = [
        "plugin \"a\"",
        "its exit status is unknown",
        "that starts plugins was killed",
    ];
    running.wait().expect_error(11, &parts);
    let calls = node.calls_for(sandbox.id());
    let order: Vec<_> = calls.iter().map(PluginCall::summary).collect();
    assert_eq!(
        order,
        ["ADD main eth0", "ADD a net1", "DEL a net1", "DEL main eth0"]
    );
    assert!(calls[1].end.expect("the plugin was not killed") < calls[2].start);
    assert_eq!(sandbox.link_names(), ["lo"]);
    plexus.daemon.stop();
}

#[test]
fn the_launcher_of_a_daemon_that_stands_by_does_not_disturb_the_next() {
    rows!("R-051");
    let node = node!();
    let mut separated = or_skip!(Separated::start(&node, "stands-by", json!({})));
    let Separated {
        plexus,
        runtime,
        of_runtime,
        ..
    } = &mut separated;
    let (_, target) = plexus.sandbox("p", "a");
    runtime.add(&target).result();
    let old = launcher(&node);
    let mut new = plexus.start_successor();
    runtime.check(&target).expect_success();
    assert_eq!(launchers(&node).len(), 2);
    new.stop();
    // The old daemon serves again, with its launcher.
    runtime.del(&target).expect_success();
    assert_eq!(launcher(&node), old);
    for call in node.calls() {
        assert_eq!(of_runtime.count_in(&call.cgroups), of_runtime.count());
    }
    plexus.daemon.stop();
}

#[test]
fn no_plugin_of_a_killed_daemon_starts_after_the_next_has_the_ledger() {
    rows!("R-051");
    let node = node!();
    let mut separated = or_skip!(Separated::start(&node, "frozen", json!({})));
    let frozen = or_skip!(Cgroup::new("frozen"));
    let Separated {
        plexus, runtime, ..
    } = &mut separated;
    let (_, first) = plexus.sandbox("first", "");
    runtime.add(&first).result();
    node.forget_calls();
    // The launcher gets an order, but cannot follow it yet.
    let launcher = launcher(&node);
    frozen.join(launcher.as_raw().unsigned_abs());
    frozen.freeze(true);
    let (sandbox, target) = plexus.sandbox("p", "");
    let running = runtime.start("ADD", &target);
    let socket = format!("/proc/{launcher}/fdinfo/0");
    wait_until("the launcher has an order", || {
        let info = fs::read_to_string(&socket).unwrap_or_default();
        info.lines()
            .any(|line| line == "scm_fds:\t5" || line == "scm_fds: 5")
    });
    plexus.daemon.kill();
    assert!(!running.wait().ok());

    plexus.daemon.launch();
    plexus.daemon.wait_log("waiting for the previous plexusd");
    let deleting = runtime.start("DEL", &target);
    frozen.freeze(false);
    deleting.wait().expect_success();
    let calls = node.calls_for(sandbox.id());
    let order: Vec<_> = calls.iter().map(|call| call.operation.as_str()).collect();
    assert_eq!(order, ["DEL"], "no plugin may follow DEL");
    assert_eq!(sandbox.link_names(), ["lo"]);
    runtime.del(&first).expect_success();
    plexus.daemon.stop();
}
