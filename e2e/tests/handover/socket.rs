//! The socket of the daemon: stopping, removal by other programs, clean-up.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use plexus_e2e::{NodeWatch, Pod, node};

use crate::{socket_dir, start};

#[test]
fn a_stopping_daemon_finishes_its_calls_and_new_callers_wait_for_the_next_one() {
    let node = node!();
    let gate = node.gate("add");
    let mut plexus = start(&node, Some(gate.step()));
    let [first, second] =
        ["first", "second"].map(|name| node.sandbox(name).target(&Pod::new("web")));
    let in_flight = plexus.runtime.start("ADD", &first);
    let held = gate.wait();
    let socket = plexus.daemon.socket().to_owned();
    let watch = NodeWatch::new(&node, &[socket.parent().expect("a directory")]);
    plexus.daemon.terminate();
    watch.wait_while(|| node.exists(&socket).then_some("the socket"));
    let waiting = plexus.runtime.start("ADD", &second);
    held.release();
    in_flight.wait().result();
    assert!(plexus.daemon.wait_exit().success());
    plexus.daemon.launch();
    gate.wait().release();
    waiting.wait().result();
    plexus.runtime.del(&first).expect_success();
    plexus.runtime.del(&second).expect_success();
}

#[test]
fn a_removed_socket_is_restored() {
    let node = node!();
    let mut plexus = start(&node, None);
    let removals: [fn(&Path); 3] = [
        |socket| fs::remove_file(socket).expect("remove the socket"),
        |socket| fs::rename(socket, socket.with_extension("moved")).expect("rename the socket"),
        |socket| {
            let dir = socket.parent().expect("a directory");
            fs::rename(dir, "/run/elsewhere").expect("rename the directory");
        },
    ];
    for (number, remove) in removals.into_iter().enumerate() {
        let socket = plexus.daemon.socket().to_owned();
        node.run(|| remove(&socket));
        plexus.runtime.status().expect_success();
        let log = plexus.daemon.log();
        let warning = "another program removed the socket";
        assert_eq!(log.matches(warning).count(), number + 1, "{log}");
    }
    plexus.daemon.stop();
    assert_eq!(socket_dir(&node), [""; 0]);
}

#[test]
fn a_daemon_that_cannot_restore_its_socket_exits() {
    let node = node!();
    let mut plexus = start(&node, None);
    let socket = plexus.daemon.socket().to_owned();
    // The name under which the daemon makes the next socket is taken.
    let next = format!("/run/plexus/.plexus.sock.{}", plexus.daemon.pid());
    node.run(|| {
        fs::create_dir(next).expect("create a directory");
        fs::remove_file(&socket).expect("remove the socket");
    });
    assert!(!plexus.daemon.wait_exit().success());
    let log = plexus.daemon.log();
    assert!(
        log.contains("the socket was removed and cannot be created again"),
        "{log}"
    );
}

#[test]
fn files_of_killed_daemons_beside_the_socket_are_removed() {
    let node = node!();
    let mut plexus = start(&node, None);
    let _listener = node.run(|| {
        // Daemons that were killed while they took over or stopped leave such sockets. Process
        // 4194305 does not exist, process 1 does and may be about to listen.
        for pid in ["4194305", "1"] {
            let path = format!("/run/plexus/.plexus.sock.{pid}");
            drop(UnixListener::bind(path).expect("bind a socket"));
        }
        fs::write("/run/plexus/.plexus.sock.notes", "not a socket").expect("write a file");
        UnixListener::bind("/run/plexus/.plexus.sock.2").expect("bind a socket")
    });
    let mut new = plexus.start_successor();
    new.wait_ready();
    assert_eq!(
        socket_dir(&node),
        [
            ".plexus.sock.1",
            ".plexus.sock.2",
            ".plexus.sock.notes",
            "plexus.sock"
        ]
    );
    plexus.daemon.stop();
    new.stop();
}
