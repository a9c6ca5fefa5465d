//! Limits and ports of the node.

use std::net::TcpListener;

use plexus_e2e::json::with_keys;
use plexus_e2e::node;
use serde_json::json;

use crate::{run, start};

#[test]
fn a_daemon_without_free_file_descriptors_serves_again_when_it_has_some() {
    let node = node!();
    let plexus = start(&node);
    let (_sandbox, target) = plexus.attached("web", "");
    let pid = plexus.daemon.pid();
    run(&node, &format!("prlimit --pid {pid} --nofile=5:"));
    let del = plexus.runtime.start("DEL", &target);
    plexus.daemon.wait_log("cannot accept a connection");
    run(&node, &format!("prlimit --pid {pid} --nofile=1024:"));
    del.wait().expect_success();
}

#[test]
fn a_metrics_port_in_use_makes_the_daemon_not_ready_until_it_is_free() {
    let node = node!();
    let address = "127.0.0.1:9999";
    let listener = node
        .run(|| TcpListener::bind(address))
        .expect("bind the port");
    let mut plexus = start(&node);
    plexus.daemon.configure(&with_keys(
        plexus.config.clone(),
        json!({"metricsAddress": address}),
    ));
    plexus.daemon.stop();
    plexus.daemon.launch();
    plexus.daemon.wait_not_ready("metricsAddress");
    let (_sandbox, target) = plexus.attached("web", "");
    plexus.runtime.del(&target).expect_success();
    drop(listener);
    plexus.daemon.wait_ready();
    plexus.daemon.wait_log("ready again");
}

#[test]
fn a_socket_that_cannot_be_created_is_named_with_what_to_do() {
    let node = node!();
    let mut plexus = start(&node);
    plexus.daemon.stop();
    for (options, text) in [
        (
            "nr_inodes=1",
            "No space left on device; free space on the file system of the directory (daemonSocketDir)",
        ),
        (
            "ro",
            "Read-only file system; mount the file system of the directory (daemonSocketDir) writable",
        ),
    ] {
        run(
            &node,
            &format!("mount -t tmpfs -o {options} tmpfs /run/plexus"),
        );
        plexus.daemon.launch();
        assert!(!plexus.daemon.wait_exit().success());
        let log = plexus.daemon.log();
        let line = format!("plexusd: cannot create the socket /run/plexus/plexus.sock: {text}\n");
        assert!(log.ends_with(&line), "{log}");
        run(&node, "umount /run/plexus");
    }
    plexus.daemon.restart();
}
