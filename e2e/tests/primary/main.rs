//! Plexus as the primary entry of a node: it finds the default network, publishes its configuration, installs its shim,
//! and leaves again.

mod stage;
mod trouble;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plexus_api::rows;
use plexus_e2e::binaries::binary;
use plexus_e2e::{Call, Flavour, Pod, Runtime, Sandbox, Target, node};
use serde_json::json;

use stage::{NET_D, OURS, PRIMARY, Stage, until, until_not_ready};

#[test]
fn pods_start_once_the_default_network_has_come_and_wait_while_it_is_away() {
    rows!("K-069", "K-070", "P-068", "C-06", "C-25");
    let node = node!();
    let stage = Stage::set(&node);
    node.run(|| fs::remove_dir(NET_D)).expect("the directory");
    let mut daemon = stage.daemon(&stage.config());
    let changes = stage.changes();
    daemon.launch();
    until_not_ready(&daemon, "no default network");
    changes.until_none(|| (!stage.bin.join("plexus").exists()).then_some("no shim"));
    assert!(!stage.exists(OURS));
    node.run(|| fs::create_dir(NET_D)).expect("the directory");
    let changes = stage.changes();
    stage.write(
        "/etc/cni/net.d/87-podman-bridge.conflist",
        r#"{"name":"podman","plugins":[{"type":"bridge"}]}"#,
    );
    stage.write(PRIMARY, "");
    stage.primary();
    changes.until_none(|| {
        stage
            .published()
            .is_none()
            .then_some("nothing is published")
    });
    daemon.wait_ready();
    let capabilities = &stage.published().expect("published")["plugins"][0]["capabilities"];
    assert_eq!(
        *capabilities,
        json!({"io.kubernetes.cri.pod-annotations": true, "portMappings": true})
    );

    let runtime = stage.runtime(stage.bin.join("plexus"));
    let target = |name: &str| {
        let sandbox = node.sandbox(name);
        Target::new(&sandbox, "eth0", &Pod::new("web"))
    };
    runtime.status().expect_silence();
    runtime.add(&target("first")).result();

    // OVN-Kubernetes takes its file away when it ends, and writes it anew when it is ready.
    let stamp = stage.stamp();
    node.run(|| fs::remove_file(PRIMARY)).expect("the file");
    until_not_ready(&daemon, "no default network");
    let refused = runtime.add(&target("second"));
    let msg = refused.expect_code(11);
    assert!(
        msg.contains("no default network") && msg.contains("multusAutoconfigDir"),
        "{msg}"
    );
    runtime.status().expect_code(50);
    assert_eq!(stage.stamp(), stamp, "ours stays");
    stage.primary();
    daemon.wait_ready();
    runtime.status().expect_silence();
    runtime.add(&target("third")).result();
    assert_eq!(stage.stamp(), stamp, "and is not written again");
}

#[test]
fn restarts_upgrades_and_crashes_leave_the_published_file_alone() {
    rows!("C-16");
    let node = node!();
    let stage = Stage::set(&node);
    stage.primary();
    let mut daemon = stage.daemon(&stage.config());
    daemon.restart();
    let shim = || {
        fs::metadata(stage.bin.join("plexus"))
            .expect("the shim")
            .ino()
    };
    let before = (stage.stamp(), shim());
    daemon.kill9();
    assert!(stage.exists(OURS));
    daemon.restart();
    daemon.stop();
    assert!(stage.exists(OURS));
    daemon.restart();
    // A newer daemon takes over.
    let mut new = stage.daemon(&stage.config());
    new.launch();
    daemon.terminate();
    assert!(daemon.wait_end().success());
    new.wait_ready();
    assert_eq!((stage.stamp(), shim()), before);
}

#[test]
fn a_file_before_ours_is_told_of_and_a_rename_is_undone() {
    rows!("C-14");
    let node = node!();
    let stage = Stage::set(&node);
    stage.primary();
    let mut daemon = stage.daemon(&stage.config());
    daemon.restart();
    stage.write(
        "/etc/cni/net.d/00-multus.conf",
        r#"{"name":"m","type":"multus-shim"}"#,
    );
    until_not_ready(&daemon, "00-multus.conf sorts before");
    assert!(
        daemon.log().contains("00-multus.conf sorts before"),
        "{}",
        daemon.log()
    );
    // Without a cluster there are no events; the metrics are the same.
    let metrics = daemon.get("/metrics").expect("an answer").body;
    assert!(
        metrics.contains("plexus_installation_problems{problem=\"config_not_first\"} 1\n"),
        "{metrics}"
    );
    node.run(|| fs::remove_file("/etc/cni/net.d/00-multus.conf"))
        .expect("the file");
    daemon.wait_ready();
    let changes = stage.changes();
    node.run(|| fs::rename(OURS, format!("{OURS}.cilium_bak")))
        .expect("a rename");
    changes.until_none(|| stage.published().is_none().then_some("not put back"));
}

#[test]
fn the_configuration_of_multus_works_unedited() {
    rows!("P-068");
    let node = node!();
    let stage = Stage::set(&node);
    stage.primary();
    let text = include_str!("../multus-daemon-config.json");
    let mut daemon = stage.daemon(&json!({}));
    fs::write(node.scratch().join("daemon-config.json"), text).expect("the configuration");
    node.run(|| fs::create_dir_all("/run/multus").and_then(|()| fs::write("/run/multus/keep", "")))
        .expect("a file");
    daemon.restart();
    let log = daemon.log();
    assert!(!log.contains("unknown key"), "{log}");
    for key in ["cniConfigDir", "multusAutoconfigDir", "socketDir"] {
        assert!(
            log.contains(&format!("{key}: nothing is mounted at /host/")),
            "{key}: {log}"
        );
    }
    let list = stage.published().expect("it is published");
    assert_eq!(
        (&list["cniVersion"], &list["name"]),
        (&json!("1.0.0"), &json!("plexus"))
    );
    let sandbox = node.sandbox("web");
    let runtime = stage.runtime(binary("plexus"));
    let target = Target::new(&sandbox, "eth0", &Pod::new("web"));
    runtime.add(&target).result();
    runtime.del(&target).expect_silence();
    // Clients of Multus find its socket, which only root may open.
    let modes = node.run(|| {
        UnixStream::connect("/run/multus/multus.sock").expect("somebody listens");
        ["/run/multus", "/run/multus/multus.sock"]
            .map(|path| fs::metadata(path).expect(path).mode() & 0o777)
    });
    assert_eq!(modes, [0o700, 0o600]);
    assert!(
        stage.exists("/run/multus/keep"),
        "the directory is left as it was"
    );
    daemon.stop();
    assert!(!stage.exists("/run/multus/multus.sock") && stage.exists(OURS));
}

#[test]
fn both_sockets_serve_the_same_and_hand_over_together() {
    let node = node!();
    let stage = Stage::set(&node);
    stage.primary();
    let mut config = stage.config();
    config["multusSocket"] = json!(true);
    let mut old = stage.daemon(&config);
    old.restart();
    let ask = || {
        node.run(|| {
            use std::io::{Read as _, Write as _};
            let mut stream = UnixStream::connect("/run/multus/multus.sock").expect("somebody listens");
            let request = "POST /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(request.as_bytes()).expect("a request");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            answer
        })
    };
    assert!(ask().starts_with("HTTP/1.1 200"));
    let mut new = stage.daemon(&config);
    new.launch();
    // The old one stands by, and its end changes nothing.
    until(&new, "ready", |status, _| status == 200);
    old.terminate();
    assert!(old.wait_end().success());
    new.wait_ready();
    assert!(ask().starts_with("HTTP/1.1 200"));
}

#[test]
fn leaving_a_node_withdraws_first_and_removes_the_shim_last() {
    rows!("C-25");
    let node = node!();
    let stage = Stage::set(&node);
    stage.primary();
    let mut daemon = stage.daemon(&stage.config());
    daemon.restart();
    let sandboxes = ["web", "db"].map(|name| (node.sandbox(name), Pod::new(name)));
    let [target, other] = sandboxes
        .each_ref()
        .map(|(sandbox, pod)| Target::new(sandbox, "eth0", pod));
    let runtime = stage.runtime(stage.bin.join("plexus"));
    for target in [&target, &other] {
        runtime.add(target).result();
    }
    daemon.stop();

    // Without another configuration the node would be left without a network.
    let primary = node
        .run(|| fs::read_to_string(PRIMARY))
        .expect("the primary");
    node.run(|| fs::remove_file(PRIMARY)).expect("the primary");
    daemon.launch_to("uninstall");
    until_not_ready(&daemon, "until the runtime has another configuration");
    assert!(stage.exists(OURS));
    stage.write(PRIMARY, &primary);
    until_not_ready(&daemon, "(interfaces: 2, spooled DELs: 0)");
    runtime.del(&other).expect_silence();
    until_not_ready(&daemon, "(interfaces: 1, spooled DELs: 0)");
    assert!(!stage.exists(OURS));
    assert!(
        stage.bin.join("plexus").exists(),
        "the pod that runs can be deleted yet"
    );
    assert!(!stage.exists("/var/lib/plexus/uninstalled"));

    runtime.del(&target).expect_silence();
    daemon.wait_ready();
    assert!(!stage.bin.join("plexus").exists());
    assert!(stage.exists("/var/lib/plexus/uninstalled"));
    assert!(stage.exists(PRIMARY));
    daemon.stop();
    // All that was as expected, and is told of once.
    let log = daemon.log();
    let waiting: Vec<_> = log
        .lines()
        .filter(|line| line.contains("pods attached by Plexus must be deleted first"))
        .collect();
    assert!(
        waiting.len() == 1
            && waiting[0].contains(" INFO uninstall is waiting: ")
            && waiting[0].contains("(interfaces: 2, "),
        "{waiting:#?}"
    );
    assert!(!log.contains(" ERROR "), "{log}");

    // A shim that somebody still has knows that nothing is left.
    let late = Runtime::new(
        &node,
        Flavour::Crio,
        binary("plexus"),
        json!({"cniVersion": "1.0.0", "name": "plexus"}),
    );
    late.del(&target).expect_silence();
    // The node is taken into use again.
    daemon.restart();
    assert!(stage.exists(OURS) && !stage.exists("/var/lib/plexus/uninstalled"));
    assert!(stage.bin.join("plexus").exists());
}

#[test]
fn a_node_goes_from_multus_to_plexus_and_back_under_its_pods() {
    rows!("R-088");
    const MULTUS: &str = "/etc/cni/net.d/00-multus.conf";
    const CACHE: &str = "/var/lib/cni/multus";
    let node = node!();
    let stage = Stage::set(&node);
    stage.primary();
    let multus =
        json!({"cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus-shim"})
            .to_string();
    stage.write(MULTUS, &multus);
    // Given pods that Multus attached, and Plexus installed beside Multus.
    let (ends, stays, new) = (
        node.sandbox("ends"),
        node.sandbox("stays"),
        node.sandbox("web"),
    );
    let attached = STANDARD.encode(node.run(|| fs::read(PRIMARY)).expect("the primary"));
    let of = |sandbox: &Sandbox<'_>| format!("{CACHE}/{}", sandbox.id());
    node.run(|| fs::create_dir_all(CACHE)).expect("a directory");
    for sandbox in [&ends, &stays] {
        sandbox.ip("link add eth0 type bridge");
        stage.write(
            &of(sandbox),
            &json!([{"Name": "ovn", "Bytes": attached}]).to_string(),
        );
    }
    let mut config = stage.config();
    config["recoveryInterval"] = json!("50ms");
    let mut daemon = stage.daemon(&config);
    daemon.launch();
    until_not_ready(&daemon, "00-multus.conf sorts before");
    // When Multus goes, then Plexus serves its pods and new ones.
    node.run(|| fs::remove_file(MULTUS)).expect("the file");
    daemon.wait_ready();
    let runtime = stage.runtime(stage.bin.join("plexus"));
    runtime
        .del(&Target::new(&ends, "eth0", &Pod::new("ends")))
        .expect_silence();
    assert!(ends.link("eth0").is_none() && !stage.exists(&of(&ends)));
    runtime
        .add(&Target::new(&new, "eth0", &Pod::new("web")))
        .result();
    // When Multus is back and Plexus goes, then the runtime asks Multus, and what Plexus attached is not forgotten.
    daemon.stop();
    stage.write(MULTUS, &multus);
    daemon.launch_to("uninstall");
    until_not_ready(&daemon, "(interfaces: 1, spooled DELs: 0)");
    assert!(!stage.exists(OURS));
    new.remove();
    daemon.wait_ready();
    assert!(!stage.bin.join("plexus").exists());
    assert!(
        stage.exists(MULTUS) && stage.exists(&of(&stays)),
        "what Multus has to go on with"
    );
    let calls: Vec<_> = node.calls().iter().map(Call::summary).collect();
    assert_eq!(calls, ["DEL ovn eth0", "ADD ovn eth0", "DEL ovn eth0"]);
}
