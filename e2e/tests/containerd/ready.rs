//! `NetworkReady`, by which a node becomes ready for pods.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::mpsc::{self, TryRecvError};
use std::thread;

use plexus_e2e::{Changes, Daemon};
use serde_json::json;

use crate::stage;
use crate::stage::Stage;

const PUBLISHED: &str = "/etc/cni/net.d/00-plexus.conflist";

#[test]
fn a_node_is_ready_while_the_configuration_is_there() {
    plexus_api::rows!("C-13");
    let node;
    // A runtime that asks for STATUS reads its directory again when that is answered.
    let mut stage = stage!(node, json!({"daemonWaitStatus": "50ms"}));
    assert!(stage.cri.network_ready().expect("a condition").status);
    stage.daemon.stop();
    node.run(|| fs::remove_file(PUBLISHED))
        .expect("it is there");
    stage.wait_network_ready(false);
    stage.daemon.launch();
    stage.wait_network_ready(true);
}

#[test]
fn another_daemon_and_a_restart_keep_the_node_ready() {
    let node;
    let mut stage = stage!(node, json!({}));
    let cri = stage.cri.clone();
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(move |scope| {
        let watcher = scope.spawn(move || {
            let mut asked = 0;
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                let condition = cri.network_ready().expect("a condition");
                assert!(condition.status, "{}", condition.message);
                asked += 1;
            }
            asked
        });
        take_over(&mut stage);
        stage.daemon.restart();
        drop(stop);
        assert!(
            watcher
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                > 0
        );
    });
}

/// Puts a new daemon in the place of the one that runs, as a rolling update with a surge does.
fn take_over(stage: &mut Stage) {
    let mut new = Daemon::new(stage.node, &stage.config, stage.manifests.dir());
    let socket = new.socket().to_owned();
    let inode = || {
        stage
            .node
            .run(|| fs::metadata(&socket).map(|socket| socket.ino()).ok())
    };
    let before = inode();
    let changes = Changes::watch(stage.node, &[socket.parent().expect("a directory")]);
    new.launch();
    changes.until_none(|| (inode() == before).then_some("the old socket"));
    new.wait_ready();
    stage.daemon.stop();
    stage.daemon = new;
}

#[test]
fn a_daemon_that_stays_away_makes_the_node_unready_where_the_runtime_asks() {
    plexus_api::rows!("C-15");
    let node;
    let mut stage = stage!(node, json!({"daemonWaitStatus": "50ms"}));
    stage.daemon.stop();
    let condition = stage.cri.network_ready().expect("a condition");
    assert_eq!(condition.status, !stage.asks_status(), "{condition:?}");
    assert!(
        condition.status || condition.message.contains("plexusd cannot be reached"),
        "{condition:?}"
    );
    stage.daemon.restart();
    assert!(stage.cri.network_ready().expect("a condition").status);
}
