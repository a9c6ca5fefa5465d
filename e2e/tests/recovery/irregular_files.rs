//! Files in the directories of the daemon that are not regular files, and requests that can never be
//! served.

use std::path::{Path, PathBuf};
use std::process::Command;

use plexus_e2e::{NodeWatch, Plexus, node};
use serde_json::json;

use crate::{attached, start};

const STATE_DIR: &str = "/var/lib/plexus";

fn make(plexus: &Plexus<'_>, program: &str, path: impl AsRef<Path> + Sync) {
    let made = plexus
        .node
        .run(|| Command::new(program).arg(path.as_ref()).status());
    assert!(made.expect(program).success());
}

#[test]
fn irregular_files_neither_block_the_daemon_nor_stay_in_its_way() {
    let node = node!();
    let mut plexus = start(&node);
    plexus.daemon.stop();
    let state_dir = PathBuf::from(STATE_DIR);
    make(&plexus, "mkfifo", state_dir.join("ledger/c1:eth0.jsonl"));
    make(&plexus, "mkdir", state_dir.join("ledger/c2:eth0.jsonl"));
    make(&plexus, "mkdir", state_dir.join("spool"));
    make(&plexus, "mkfifo", state_dir.join("spool/c3:eth0.json"));
    make(&plexus, "mkfifo", plexus.manifests.dir().join("a.yaml"));
    make(&plexus, "mkdir", plexus.manifests.dir().join("b.yaml"));
    plexus.daemon.restart();
    let (_sandbox, target) = attached(&plexus, "pod");
    plexus.wait_records(&[&target]);
    plexus.wait_spool(&[]);
    assert_eq!(plexus.files("quarantine").len(), 3);
    plexus.runtime.del(&target).expect_success();
    plexus.daemon.stop();
}

#[test]
fn a_spool_that_cannot_be_listed_does_not_stop_the_cleanup_of_sandboxes() {
    let node = node!();
    let plexus = start(&node);
    let (sandbox, _target) = attached(&plexus, "pod");
    node.write(Path::new(STATE_DIR).join("spool"), "not a directory");
    sandbox.remove();
    plexus.wait_records(&[]);
    assert_eq!(plexus.calls_of("DEL").len(), 2);
    let log = plexus.daemon.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("/var/lib/plexus/spool"));
    assert_eq!(lines.count(), 1, "{log}");
}

#[test]
fn a_spooled_request_that_can_never_be_served_is_moved_to_the_quarantine() {
    let node = node!();
    let plexus = start(&node);
    let config = "eyJjbmlWZXJzaW9uIjoiMS4wLjAiLCJuYW1lIjoicGxleHVzIn0=";
    let request = |verb: &str, container: &str| {
        let env = json!({"CNI_COMMAND": verb, "CNI_CONTAINERID": container, "CNI_IFNAME": "eth0"});
        json!({"env": env, "config": config}).to_string()
    };
    let spool = Path::new(STATE_DIR).join("spool");
    make(&plexus, "mkdir", &spool);
    let quarantine = Path::new(STATE_DIR).join("quarantine");
    make(&plexus, "mkdir", &quarantine);
    for (file, request) in [
        ("c1:eth0.json", request("ADD", "c1")),
        ("c2:eth0.json", request("DEL", "not/valid")),
        (
            "c3:eth0.json",
            format!("{}{}", request("DEL", "c3"), " ".repeat(5 << 20)),
        ),
    ] {
        node.write(spool.join(file), request);
    }
    NodeWatch::new(&node, &[quarantine]).wait_while(|| {
        let files = plexus.files("quarantine");
        (files.len() < 3).then_some(files)
    });
    assert_eq!(plexus.files("spool"), [""; 0]);
    assert_eq!(plexus.calls(), [""; 0]);
}
