//! A daemon in a container that sees neither the plugins nor the sandboxes of its node.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use plexus_api::rows;
use plexus_e2e::binaries::binary;
use plexus_e2e::daemon::Container;
use plexus_e2e::{Node, Plexus, Pod, Sandbox, Script, Step, attaches, node};
use serde_json::{Value, json};

/// A daemon that sees no plugin and no sandbox, with `keys` in its configuration. It is not
/// running.
fn build(node: &Node, keys: Value) -> Plexus<'_> {
    build_in(node, keys, Container::default())
}

/// The same with other settings of the container.
fn build_in(node: &Node, keys: Value, container: Container) -> Plexus<'_> {
    // A file with the default network would not be in the container.
    let default = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "main"}]});
    let plexus = Plexus::on(node)
        .config(json!({
            "clusterNetwork": null, "delegates": [default], "recoveryInterval": "50ms",
        }))
        .config(keys)
        .container(Container {
            hidden: vec![PathBuf::from("/run/netns"), node.bin_dir()],
            ..container
        })
        .build();
    node.plugin("second", &attaches());
    plexus
        .manifests
        .definition("lan", &json!({"cniVersion": "1.0.0", "type": "second"}));
    plexus
}

fn pod() -> Pod {
    Pod::new("web").with_networks("lan")
}

/// Asserts that a pod can be attached, checked and detached.
fn assert_serves(plexus: &Plexus<'_>, sandbox: &Sandbox<'_>) {
    plexus.runtime.status().expect_success();
    let target = sandbox.target(&pod());
    let output = plexus.runtime.add(&target);
    assert!(output.ok(), "{output:?}\n{}", plexus.daemon.log());
    assert!(sandbox.link("eth0").is_some() && sandbox.link("net1").is_some());
    plexus.runtime.check(&target).expect_success();
    plexus.runtime.del(&target).expect_success();
    assert_eq!(sandbox.link_names(), ["lo"]);
    assert_eq!(plexus.calls_of("DEL").len(), 2, "{:?}", plexus.calls());
}

#[test]
fn plugins_run_in_the_mount_namespace_of_the_caller() {
    let node = node!();
    let mut plexus = build(&node, json!({"mountNamespace": "caller"}));
    plexus.daemon.restart();
    // The sandbox is mounted after the daemon has started.
    assert_serves(&plexus, &node.sandbox("web"));
}

#[test]
fn device_information_is_in_the_mount_namespace_of_plugins() {
    rows!("D-019");
    let node = node!();
    let root = "/run/k8s.cni.cncf.io";
    node.run(|| fs::create_dir(root))
        .expect("create the directory");
    let default = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "main"}]});
    let mut plexus = Plexus::on(&node)
        .config(json!({"clusterNetwork": null, "delegates": [default], "mountNamespace": "caller"}))
        .container(Container {
            hidden: vec![PathBuf::from(root), node.bin_dir()],
            ..Container::default()
        })
        .build();
    let document = json!({
        "type": "memif", "version": "1.1.0",
        "memif": {"role": "slave", "path": "/run/memif.sock", "mode": "ethernet"},
    });
    let script = Script::new().on("ADD", [Step::WriteDeviceInfo(document.to_string())]);
    node.plugin("lan", &script);
    let capabilities = json!({"CNIDeviceInfoFile": true});
    let config = json!({"cniVersion": "1.0.0", "type": "lan", "capabilities": capabilities});
    plexus.manifests.definition("lan", &config);
    plexus.daemon.restart();
    let target = node.sandbox("web").target(&pod());
    plexus.runtime.add(&target).result();
    let status = plexus.network_status(&pod()).expect("network-status");
    assert_eq!(status[1]["device-info"], document);
    // The path that the plugin got leads through the link `/var/run`.
    assert_eq!(node.list(format!("{root}/devinfo/cni")).len(), 1);
    plexus.runtime.del(&target).expect_success();
    assert_eq!(node.list(format!("{root}/devinfo/cni")), [""; 0]);
}

#[test]
fn without_a_mount_namespace_a_contained_daemon_does_not_find_sandboxes() {
    let node = node!();
    let mut plexus = build(&node, json!({}));
    plexus.daemon.restart();
    plexus
        .runtime
        .add(&node.sandbox("web").target(&pod()))
        .expect_error(4, &["CNI_NETNS /run/netns/web"]);
}

#[test]
fn recovery_uses_the_mount_namespace_of_the_last_caller() {
    let node = node!();
    let mut plexus = build(&node, json!({"mountNamespace": "caller"}));
    plexus.daemon.restart();
    let sandbox = node.sandbox("web");
    let target = sandbox.target(&pod());
    let output = plexus.runtime.add(&target);
    assert!(output.ok(), "{}", plexus.daemon.log());
    // The first DEL fails and the runtime does not retry.
    node.plugin("second", &attaches().fails("DEL", 11, "not now"));
    plexus.runtime.del(&target).expect_code(11);
    node.plugin("second", &attaches());
    plexus.daemon.wait_log("recovery: cleaned up");
    assert_eq!(sandbox.link_names(), ["lo"]);
}

#[test]
fn plugins_run_in_the_mount_namespace_of_a_path() {
    let node = node!();
    let mut process = Command::new("/bin/cat");
    process.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut process = node.spawn(&mut process).expect("execute cat");
    let path = format!("/proc/{}/ns/mnt", process.id());
    let mut plexus = build(&node, json!({"mountNamespace": path}));
    plexus.daemon.restart();
    assert_serves(&plexus, &node.sandbox("web"));
    drop(process.stdin.take());
    process.wait().expect("cat exits");
}

#[test]
fn plugins_run_below_a_mounted_root() {
    let node = node!();
    let root = node.scratch().join("hostroot");
    fs::create_dir(&root).expect("create the directory");
    let sandbox = node.sandbox("web");
    let container = Container {
        root: Some(root.clone()),
        ..Container::default()
    };
    let mut plexus = build_in(&node, json!({"chrootDir": root}), container);
    plexus.daemon.restart();
    assert_serves(&plexus, &sandbox);
}

#[test]
fn a_root_that_is_not_mounted_is_ignored() {
    let node = node!();
    let root = node.scratch().join("hostroot");
    fs::create_dir(&root).expect("create the directory");
    let keys = json!({"chrootDir": root, "mountNamespace": "caller"});
    let mut plexus = build(&node, keys);
    plexus.daemon.restart();
    plexus.daemon.wait_log("nothing is mounted there");
    assert_serves(&plexus, &node.sandbox("web"));
}

#[test]
fn a_daemon_with_a_path_that_is_not_a_mount_namespace_does_not_start() {
    let node = node!();
    let mut plexus = build(&node, json!({"mountNamespace": "/proc/self/ns/net"}));
    plexus.daemon.launch();
    assert!(!plexus.daemon.wait_exit().success());
    let log = plexus.daemon.log();
    assert!(log.contains("mountNamespace /proc/self/ns/net"), "{log}");
}

#[test]
fn the_readiness_probe_of_another_container_fails() {
    let node = node!();
    let mut plexus = build(&node, json!({"mountNamespace": "caller"}));
    plexus.daemon.restart();
    let probe = |prefix: &[&str], what: &str| {
        let mut command = Command::new(prefix[0]);
        command
            .args(&prefix[1..])
            .arg(binary("plexusd"))
            .args(["probe", what]);
        let output = node.run(|| command.output()).expect("execute the probe");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let pid = plexus.daemon.pid().to_string();
    let in_container = ["nsenter", "--mount", "--target", &pid];
    assert_eq!(probe(&in_container, "ready"), (true, String::new()));
    let (success, stderr) = probe(&["env"], "ready");
    assert!(
        !success && stderr.contains(&format!("runs in another container (pid {pid})")),
        "{stderr}"
    );
    // The liveness probe succeeds, or kubelet would restart a daemon that stands by.
    assert_eq!(probe(&["env"], "live"), (true, String::new()));
}

#[test]
fn without_the_pid_namespace_of_the_host_add_fails_and_names_host_pid() {
    let node = node!();
    let container = Container {
        own_pids: true,
        ..Container::default()
    };
    let mut plexus = build_in(&node, json!({"mountNamespace": "caller"}), container);
    plexus.daemon.restart();
    plexus
        .runtime
        .add(&node.sandbox("web").target(&pod()))
        .expect_error(11, &["hostPID: true"]);
    let log = plexus.daemon.log();
    assert!(log.contains("hostPID: true"), "{log}");
    assert!(
        node.calls().is_empty(),
        "no plugin ran in the wrong namespace"
    );
}
