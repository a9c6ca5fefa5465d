//! The user has no inotify instance left.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use plexus_e2e::binaries::binary;
use plexus_e2e::plexus::DEFAULT_NETWORK_FILE;
use plexus_e2e::{Node, attaches, node};
use serde_json::json;

use crate::start;

/// Set for the process in the user namespace.
const VARIABLE: &str = "PLEXUS_E2E_USER_NAMESPACE";
/// The limit of a user namespace.
const LIMIT: &str = "/proc/sys/user/max_inotify_instances";

/// Runs this test again, alone and as root of a new user namespace, whose limits are its own.
/// Returns whether this process is that one.
///
/// # Errors
/// This process may not make a user namespace.
fn is_in_user_namespace(test: &str) -> Result<bool, String> {
    if std::env::var_os(VARIABLE).is_some() {
        return Ok(true);
    }
    let test_binary = std::env::current_exe().expect("the path of this test");
    let output = Command::new("unshare")
        .arg("-Urm")
        .arg(test_binary)
        .args(["--exact", test, "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .expect("execute unshare");
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.starts_with("unshare: ") {
        return Err(stderr.into_owned());
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    Ok(false)
}

/// Looks until `is_met` returns true: this process has no inotify instance either.
fn look_until(condition: &str, is_met: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_met() {
        assert!(Instant::now() < end, "not yet: {condition}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn limit(node: &Node, instances: u32) {
    node.write(LIMIT, instances.to_string());
}

#[test]
fn without_inotify_instances_a_daemon_looks_for_changes_from_time_to_time() {
    let test = "inotify::without_inotify_instances_a_daemon_looks_for_changes_from_time_to_time";
    match is_in_user_namespace(test) {
        Ok(true) => {}
        Ok(false) => return,
        Err(reason) => plexus_e2e::skip!("may not make a user namespace: {reason}"),
    }
    for instances in [0, 1, 2] {
        let node = node!();
        limit(&node, instances);
        let mut plexus = start(&node);
        let log = plexus.daemon.log();
        assert!(
            log.contains("inotify is not available"),
            "{instances}: {log}"
        );
        if instances == 0 {
            let mut doctor = Command::new(binary("plexusd"));
            let output = node.run(|| doctor.arg("doctor").output());
            let output =
                String::from_utf8_lossy(&output.expect("execute plexusd").stdout).into_owned();
            let expected =
                "warning  limits: inotify: the user of plexusd has no inotify instance left";
            assert!(output.contains(expected), "{output}");
        }
        let (_sandbox, first) = plexus.attached("first", "");
        // Manifests and the default network are read again.
        plexus.network("lan", &attaches());
        node.plugin("other", &attaches());
        let other = json!({"cniVersion": "1.0.0", "name": "o", "plugins": [{"type": "other"}]});
        node.write_json(DEFAULT_NETWORK_FILE, &other);
        look_until("the default network", || {
            plexus.daemon.log().contains("network=\"o\"")
        });
        let (_sandbox, second) = plexus.attached("second", "lan");
        // Another daemon takes over.
        let socket = plexus.daemon.socket().to_owned();
        let inode = || node.run(|| fs::metadata(&socket).map(|socket| socket.ino()).ok());
        let before = inode();
        let mut new = plexus.new_daemon();
        new.launch();
        look_until("the new socket", || inode() != before);
        new.wait_ready();
        plexus.daemon.stop();
        for target in [first, second] {
            plexus.runtime.del(&target).expect_success();
        }
        // The running daemon uses inotify again.
        limit(&node, 1000);
        look_until("inotify", || new.log().contains("watched by inotify again"));
        new.stop();
    }
}
