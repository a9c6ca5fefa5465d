//! Plugins are in the control groups of the runtime, not in those of the daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use plexus_api::rows;
use plexus_e2e::binaries::binary;
use plexus_e2e::cgroup::{self, Cgroup};
use plexus_e2e::daemon::Container;
use plexus_e2e::{Flavour, Node, Plexus, Runtime, Step, attaches, node, or_skip};
use serde_json::{Value, json};

/// Plexus, and a runtime in another control group.
pub(crate) struct Separated<'n> {
    pub(crate) plexus: Plexus<'n>,
    pub(crate) runtime: Runtime<'n>,
    pub(crate) of_daemon: Cgroup,
    pub(crate) of_runtime: Cgroup,
}

impl<'n> Separated<'n> {
    /// `keys` are merged into the configuration of the daemon. The network `a` exists.
    ///
    /// # Errors
    /// One line that says which control group could not be made.
    pub(crate) fn start(node: &'n Node, name: &str, keys: Value) -> Result<Self, String> {
        let of_daemon = Cgroup::new(&format!("daemon-{name}"))?;
        let of_runtime = Cgroup::new(&format!("runtime-{name}"))?;
        cgroup::mount_on(node)?;
        let plexus = start(node, keys);
        of_daemon.join(plexus.daemon.pid());
        plexus.network("a", &attaches());
        Ok(Self {
            runtime: runtime_in(node, &of_runtime),
            plexus,
            of_daemon,
            of_runtime,
        })
    }
}

/// A daemon as in the container of the DaemonSet: it sees neither plugins nor sandboxes nor control
/// groups.
fn start(node: &Node, keys: Value) -> Plexus<'_> {
    let default = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "main"}]});
    let mut plexus = Plexus::on(node)
        .config(json!({
            "clusterNetwork": null, "delegates": [default], "mountNamespace": "caller",
            "recoveryInterval": "50ms",
        }))
        .config(keys)
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
        // A DEL may come while the next daemon starts.
        "daemonWaitDel": "60s",
    });
    Runtime::new(node, Flavour::Containerd, program, config)
}

#[test]
fn plugins_are_in_the_control_groups_of_the_runtime() {
    rows!("R-051", "R-052");
    let node = node!();
    let Separated {
        mut plexus,
        runtime,
        of_daemon,
        of_runtime,
    } = or_skip!(Separated::start(&node, "of-plugins", json!({})));
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
fn a_plugin_outlives_the_control_group_of_the_daemon() {
    rows!("R-051");
    let node = node!();
    let Separated {
        mut plexus,
        runtime,
        of_daemon,
        of_runtime: _of_runtime,
    } = or_skip!(Separated::start(&node, "killed", json!({})));
    let gate = node.gate("main");
    node.plugin("main", &attaches().on("ADD", [gate.step(), Step::link()]));
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
