use axum::routing::get;
use plexus_api::wire::{MULTUS_SOCKET_NAME, SOCKET_NAME};
use rustix::process::geteuid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::config::{MAX_SOCKET_DIR, MountNamespace};

/// More than a server that chooses at random could serve by accident.
const CALLERS: usize = 20;

fn bind(dir: &TempDir) -> Listener {
    let hosts = Hosts::open(&MountNamespace::Own, None, dir.path()).expect("a host");
    let socket_dir = dir.path().join("run");
    Listener::bind(&socket_dir, "s", Some(geteuid().as_raw()), hosts).expect("a socket")
}

fn router() -> Router {
    Router::new().route("/", get(|| async { "served" }))
}

/// Connects callers, which then wait in the listen queue, and sends their requests.
async fn connect(listener: &Listener) -> Vec<UnixStream> {
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let mut caller = UnixStream::connect(&listener.path).await.expect("connect");
        let request = b"GET / HTTP/1.1\r\nHost: plexusd\r\n\r\n";
        caller.write_all(request).await.expect("send");
        callers.push(caller);
    }
    callers
}

async fn assert_served(callers: Vec<UnixStream>) {
    for mut caller in callers {
        let mut response = String::new();
        caller.read_to_string(&mut response).await.expect("receive");
        assert!(response.starts_with("HTTP/1.1 200"), "{response:?}");
    }
}

#[tokio::test]
async fn a_socket_can_be_bound_in_the_longest_directory() {
    let dir = tempfile::tempdir().expect("dir");
    let filler = MAX_SOCKET_DIR - dir.path().as_os_str().len() - 1;
    let socket_dir = dir.path().join("d".repeat(filler));
    for name in [SOCKET_NAME, MULTUS_SOCKET_NAME] {
        let hosts = Hosts::open(&MountNamespace::Own, None, dir.path()).expect("a host");
        let bound = Listener::bind(&socket_dir, name, None, hosts);
        bound.expect("a socket");
        let longest = socket_dir.join(format!("{}4194304", prefix(name)));
        UnixListener::bind(longest).expect("the name with the longest process ID");
    }
}

#[tokio::test]
async fn callers_that_have_connected_are_served_after_the_stop() {
    let dir = tempfile::tempdir().expect("dir");
    let listener = bind(&dir);
    let callers = connect(&listener).await;
    let stop = CancellationToken::new();
    stop.cancel();
    let ended = listener.serve(router(), stop).await.expect("served");
    assert_eq!(ended, ListenerExit::Stopped);
    assert_served(callers).await;
}

#[tokio::test]
async fn callers_that_have_connected_are_served_after_a_takeover() {
    let dir = tempfile::tempdir().expect("dir");
    let listener = bind(&dir);
    let callers = connect(&listener).await;
    let other = bind(&dir);
    let stop = CancellationToken::new();
    let ended = listener.serve(router(), stop.clone()).await;
    assert_eq!(ended.expect("served"), ListenerExit::Superseded);
    assert!(stop.is_cancelled());
    assert_served(callers).await;
    assert_eq!(other.socket_owner(), SocketOwner::ThisDaemon);
}

#[tokio::test]
async fn callers_that_have_connected_are_served_if_the_socket_is_removed() {
    let dir = tempfile::tempdir().expect("dir");
    let listener = bind(&dir);
    let path = listener.path.clone();
    let callers = connect(&listener).await;
    std::fs::remove_file(&path).expect("remove the socket");
    let stop = CancellationToken::new();
    let server = tokio::spawn(listener.serve(router(), stop.clone()));
    assert_served(callers).await;
    let mut later = UnixStream::connect(&path).await.expect("a new socket");
    let request = b"GET / HTTP/1.1\r\nHost: plexusd\r\n\r\n";
    later.write_all(request).await.expect("send");
    assert_served(vec![later]).await;
    stop.cancel();
    let ended = server.await.expect("no panic").expect("served");
    assert_eq!(ended, ListenerExit::Stopped);
}

#[tokio::test]
async fn the_limit_of_connections_also_counts_those_to_a_removed_socket() {
    let dir = tempfile::tempdir().expect("dir");
    let listener = bind(&dir);
    let path = listener.path.clone();
    let limits = listener.limits.clone();
    let open: Vec<_> =
        std::iter::from_fn(|| limits.open(Some(std::process::id().cast_signed()))).collect();
    std::fs::remove_file(&path).expect("remove the socket");
    let stop = CancellationToken::new();
    let rebound = listener
        .rebind(&router(), &TaskTracker::new())
        .await
        .expect("a new socket");
    let server = tokio::spawn(rebound.serve(router(), stop.clone()));
    let mut caller = UnixStream::connect(&path).await.expect("connect");
    let mut response = Vec::new();
    caller.read_to_end(&mut response).await.expect("receive");
    assert_eq!(response, TOO_MANY_CONNECTIONS);
    drop(open);
    stop.cancel();
    server.await.expect("no panic").expect("served");
}
