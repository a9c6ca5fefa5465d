//! The daemon publishes its configuration and serves Multus' socket.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;

use plexus_api::rows;
use plexus_e2e::binaries::binary;
use plexus_e2e::json::with_keys;
use plexus_e2e::plexus::{NET_D, PUBLISHED};
use plexus_e2e::{CniTarget, Pod, node};
use serde_json::json;

use crate::{
    DEFAULT_NETWORK, build, published_runtime, published_stamp, shim, start, watch,
    write_default_network,
};

#[test]
fn pods_start_when_the_default_network_appears_and_fail_while_it_is_missing() {
    rows!("K-069", "K-070", "P-068", "C-06", "C-25");
    let node = node!();
    let mut plexus = build(&node);
    node.run(|| fs::remove_dir(NET_D))
        .expect("remove the directory");
    let changes = watch(&node);
    plexus.daemon.launch();
    plexus.daemon.wait_not_ready("no default network");
    changes.wait_while(|| (!shim(&node).exists()).then_some("no shim"));
    assert!(!node.exists(PUBLISHED));
    node.run(|| fs::create_dir(NET_D))
        .expect("create the directory");
    let changes = watch(&node);
    // Files that are not a default network.
    node.write(
        "/etc/cni/net.d/87-podman-bridge.conflist",
        r#"{"name":"podman","plugins":[{"type":"bridge"}]}"#,
    );
    node.write(DEFAULT_NETWORK, "");
    write_default_network(&node);
    changes.wait_while(|| plexus.published().is_none().then_some("not published"));
    plexus.daemon.wait_ready();
    let published = plexus.published().expect("a published configuration");
    assert_eq!(
        published["plugins"][0]["capabilities"],
        json!({"io.kubernetes.cri.pod-annotations": true, "portMappings": true})
    );

    let runtime = published_runtime(&plexus, shim(&node));
    let target = |name: &str| -> CniTarget { node.sandbox(name).target(&Pod::new("web")) };
    runtime.status().expect_success();
    runtime.add(&target("first")).result();

    // OVN-Kubernetes removes its file when it stops, and writes it when it is ready again.
    let stamp = published_stamp(&node);
    node.run(|| fs::remove_file(DEFAULT_NETWORK))
        .expect("remove the file");
    plexus.daemon.wait_not_ready("no default network");
    runtime
        .add(&target("second"))
        .expect_error(11, &["no default network", "multusAutoconfigDir"]);
    runtime.status().expect_code(50);
    assert_eq!(published_stamp(&node), stamp, "the file is not removed");
    write_default_network(&node);
    plexus.daemon.wait_ready();
    runtime.status().expect_success();
    runtime.add(&target("third")).result();
    assert_eq!(published_stamp(&node), stamp, "the file is not rewritten");
}

#[test]
fn restarts_upgrades_and_crashes_do_not_change_the_published_file() {
    rows!("C-16");
    let node = node!();
    let mut plexus = start(&node);
    let inode = || fs::metadata(shim(&node)).expect("the shim").ino();
    let before = (published_stamp(&node), inode());
    plexus.daemon.kill();
    assert!(node.exists(PUBLISHED));
    plexus.daemon.restart();
    plexus.daemon.stop();
    assert!(node.exists(PUBLISHED));
    plexus.daemon.restart();
    let mut new = plexus.new_daemon();
    new.launch();
    plexus.daemon.terminate();
    assert!(plexus.daemon.wait_exit().success());
    new.wait_ready();
    assert_eq!((published_stamp(&node), inode()), before);
}

#[test]
fn a_file_that_sorts_first_is_reported_and_a_renamed_file_is_restored() {
    rows!("C-14");
    let node = node!();
    let mut plexus = start(&node);
    let other = "/etc/cni/net.d/00-multus.conf";
    node.write(other, r#"{"name":"m","type":"multus-shim"}"#);
    plexus.daemon.wait_not_ready("00-multus.conf sorts before");
    let log = plexus.daemon.log();
    assert!(log.contains("00-multus.conf sorts before"), "{log}");
    // Without a cluster there are metrics but no events.
    let metrics = plexus.daemon.metrics();
    assert!(
        metrics.contains("plexus_installation_problems{problem=\"config_not_first\"} 1\n"),
        "{metrics}"
    );
    node.run(|| fs::remove_file(other))
        .expect("remove the file");
    plexus.daemon.wait_ready();
    let changes = watch(&node);
    node.run(|| fs::rename(PUBLISHED, format!("{PUBLISHED}.cilium_bak")))
        .expect("rename the file");
    changes.wait_while(|| plexus.published().is_none().then_some("not restored"));
}

#[test]
fn the_configuration_file_of_multus_works_unchanged() {
    rows!("P-068");
    let node = node!();
    let mut plexus = build(&node);
    write_default_network(&node);
    let text = include_str!("../multus-daemon-config.json");
    node.write(node.scratch().join("daemon-config.json"), text);
    node.run(|| fs::create_dir_all("/run/multus"))
        .expect("create the directory");
    node.write("/run/multus/keep", "");
    plexus.daemon.restart();
    let log = plexus.daemon.log();
    assert!(!log.contains("unknown key"), "{log}");
    for key in ["cniConfigDir", "multusAutoconfigDir", "socketDir"] {
        assert!(
            log.contains(&format!("{key}: nothing is mounted at /host/")),
            "{key}: {log}"
        );
    }
    let list = plexus.published().expect("a published configuration");
    assert_eq!(
        (&list["cniVersion"], &list["name"]),
        (&json!("1.0.0"), &json!("plexus"))
    );
    let runtime = published_runtime(&plexus, binary("plexus"));
    let target = plexus.target(&Pod::new("web"));
    runtime.add(&target).result();
    runtime.del(&target).expect_success();
    // Clients of Multus find its socket, which only root may open.
    let modes = node.run(|| {
        UnixStream::connect("/run/multus/multus.sock").expect("connect to the socket");
        ["/run/multus", "/run/multus/multus.sock"]
            .map(|path| fs::metadata(path).expect(path).mode() & 0o777)
    });
    assert_eq!(modes, [0o700, 0o600]);
    assert!(node.exists("/run/multus/keep"));
    plexus.daemon.stop();
    assert!(!node.exists("/run/multus/multus.sock") && node.exists(PUBLISHED));
}

#[test]
fn both_sockets_serve_and_are_handed_over_together() {
    let node = node!();
    let mut plexus = build(&node);
    write_default_network(&node);
    plexus.config = with_keys(plexus.config, json!({"multusSocket": true}));
    plexus.daemon = plexus.new_daemon();
    plexus.daemon.restart();
    let request = || {
        node.run(|| {
            let mut stream =
                UnixStream::connect("/run/multus/multus.sock").expect("connect to the socket");
            stream
                .write_all(
                    b"POST /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                      Content-Length: 0\r\n\r\n",
                )
                .expect("send a request");
            let mut response = String::new();
            stream
                .read_to_string(&mut response)
                .expect("read a response");
            response
        })
    };
    assert!(request().starts_with("HTTP/1.1 200"));
    let mut new = plexus.new_daemon();
    new.launch();
    new.wait_ready();
    plexus.daemon.terminate();
    assert!(plexus.daemon.wait_exit().success());
    new.wait_ready();
    assert!(request().starts_with("HTTP/1.1 200"));
}
