//! The state directory is full, read-only, or damaged.

use std::fs;

use plexus_e2e::{Pod, node};

use crate::{run, start};

const STATE_DIR: &str = "/var/lib/plexus";

#[test]
fn a_daemon_that_starts_on_a_full_disk_serves_del() {
    let node = node!();
    let mut plexus = start(&node);
    plexus.daemon.stop();
    run(&node, "mount -t tmpfs -o size=256k tmpfs /var/lib/plexus");
    plexus.daemon.restart();
    let (_sandbox, attached) = plexus.attached("web", "");
    plexus.daemon.kill();
    let filler = format!("{STATE_DIR}/filler");
    node.run(|| {
        // Each write fills what is left, until there is no page left.
        for size in [64 << 10, 4 << 10] {
            let mut file = fs::File::options()
                .create(true)
                .append(true)
                .open(&filler)
                .expect("open a file");
            while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
        }
    });
    plexus.daemon.launch();
    plexus.daemon.wait_not_ready("free space");
    let refused = plexus.runtime.add(&plexus.target(&Pod::new("late")));
    assert!(
        !refused.ok() && refused.msg().contains("free space"),
        "{refused:?}"
    );
    plexus.runtime.del(&attached).expect_success();
    assert_eq!(plexus.records(), [""; 0]);
    node.run(|| fs::remove_file(&filler))
        .expect("remove a file");
    plexus.daemon.wait_ready();
    plexus.daemon.wait_log("ready again");
    plexus.attached("again", "");
}

#[test]
fn a_daemon_that_starts_on_a_read_only_disk_serves_del() {
    let node = node!();
    let mut plexus = start(&node);
    plexus.daemon.stop();
    run(&node, "mount -t tmpfs tmpfs /var/lib/plexus");
    plexus.daemon.restart();
    let (sandbox, attached) = plexus.attached("web", "");
    plexus.daemon.kill();
    run(&node, "mount -o remount,ro /var/lib/plexus");
    plexus.daemon.launch();
    plexus.daemon.wait_not_ready("mount it writable");
    plexus.runtime.del(&attached).expect_success();
    assert!(sandbox.link("eth0").is_none());
    run(&node, "mount -o remount,rw /var/lib/plexus");
    plexus.daemon.wait_ready();
    // The record says nothing of the DEL, so recovery repeats it.
    sandbox.remove();
    plexus.wait_records(&[]);
}

#[test]
fn a_ledger_that_cannot_be_read_is_named_until_it_can() {
    let node = node!();
    let mut plexus = start(&node);
    plexus.daemon.stop();
    let ledger = format!("{STATE_DIR}/ledger");
    node.run(|| {
        fs::remove_dir(&ledger).expect("remove the directory");
        fs::write(&ledger, "not a directory").expect("write a file");
    });
    plexus.daemon.launch();
    plexus.daemon.wait_not_ready("/var/lib/plexus/ledger");
    plexus
        .daemon
        .wait_log("repair the state directory (stateDir); plexusd tries again");
    assert_eq!(
        plexus.daemon.status_of("/healthz"),
        200,
        "a restart would not help"
    );
    node.run(|| fs::remove_file(&ledger))
        .expect("remove a file");
    plexus.daemon.wait_ready();
    plexus.attached("web", "");
}
