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

fn assert_timed_out(result: Result<HttpResponse, HttpError>) {
    let Err(HttpError::NoResponse(error)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains("0.050s"), "{error}");
}

#[test]
fn a_hanging_daemon_causes_a_timeout() {
    let (_dir, path, _listener) = listener();
    assert_timed_out(HttpRequest::post_cni(b"{}").send(&path, SHORT));
}

#[test]
fn a_daemon_that_reads_nothing_causes_a_timeout() {
    let (_dir, path, _listener) = listener();
    // More than fits into the buffer of a socket.
    assert_timed_out(HttpRequest::post_cni(&vec![b'x'; 4 << 20]).send(&path, SHORT));
}

#[test]
fn a_daemon_that_responds_too_slowly_causes_a_timeout() {
    let (_dir, path, listener) = listener();
    let daemon = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        // Each read is in time, but the whole exchange is not. The loop ends when the shim closes.
        while stream.write_all(b"x").is_ok() {
            thread::sleep(SHORT / 10);
        }
    });
    assert_timed_out(HttpRequest::post_cni(b"{}").send(&path, SHORT));
    daemon.join().expect("daemon");
}

#[test]
fn connecting_to_a_full_listen_queue_does_not_block() {
    let (_dir, path, listener) = listener();
    socket::listen(&listener, Backlog::new(0).expect("backlog")).expect("listen");
    let _waiting = UnixStream::connect(&path).expect("connect");
    let result = HttpRequest::post_cni(b"{}").send(&path, NEVER);
    let Err(HttpError::Connect(error)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
}
