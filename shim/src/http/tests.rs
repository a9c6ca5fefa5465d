use std::os::unix::net::UnixListener;
use std::thread;

use nix::sys::socket::Backlog;
use tempfile::TempDir;

use super::*;

const SHORT: Duration = Duration::from_millis(50);
const NEVER: Duration = Duration::from_hours(1);

fn listener() -> (TempDir, std::path::PathBuf, UnixListener) {
    let dir = TempDir::new().expect("temporary directory");
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).expect("bind");
    (dir, path, listener)
}

fn assert_late(failure: Result<Answer, Failure>) {
    let Err(Failure::NoAnswer(error)) = failure else {
        panic!("{failure:?}")
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains("0.050s"), "{error}");
}

#[test]
fn a_daemon_that_hangs_is_given_up() {
    let (_dir, path, _listener) = listener();
    assert_late(Request::post_cni(b"{}").send(&path, SHORT));
}

#[test]
fn a_daemon_that_reads_nothing_is_given_up() {
    let (_dir, path, _listener) = listener();
    // More than a socket buffers.
    assert_late(Request::post_cni(&vec![b'x'; 4 << 20]).send(&path, SHORT));
}

#[test]
fn a_daemon_that_answers_by_drops_is_given_up() {
    let (_dir, path, listener) = listener();
    let daemon = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        // Slow enough that only the deadline of the whole exchange ends it; then the other side has closed.
        while stream.write_all(b"x").is_ok() {
            thread::sleep(SHORT / 10);
        }
    });
    assert_late(Request::post_cni(b"{}").send(&path, SHORT));
    daemon.join().expect("daemon");
}

#[test]
fn a_daemon_with_too_many_callers_does_not_block() {
    let (_dir, path, listener) = listener();
    socket::listen(&listener, Backlog::new(0).expect("backlog")).expect("listen");
    let _waiting = UnixStream::connect(&path).expect("connect");
    let failure = Request::post_cni(b"{}").send(&path, NEVER);
    let Err(Failure::Connect(error)) = failure else {
        panic!("{failure:?}")
    };
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
}
