use std::fs;
use std::path::Path;

use nix::sys::stat::Mode;
use plexus_api::cni::{CniError, Code};

use super::{Netns, NetnsError};
use crate::host::{Host, HostRoot};
use sandbox::Sandbox;

mod routes;
mod sandbox;

/// Opens a namespace at a path of the daemon itself.
async fn open(path: &Path) -> Result<Netns, NetnsError> {
    let host = Host::start(tokio::runtime::Handle::current(), HostRoot::Own).expect("host");
    Netns::open(path, &host).await
}

#[tokio::test]
async fn a_path_that_is_not_a_network_namespace_is_refused() {
    plexus_api::rows!("P-011");
    let dir = tempfile::tempdir().expect("directory");
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "").expect("file");
    std::os::unix::fs::symlink("nowhere", at("dangling")).expect("link");
    std::os::unix::fs::symlink("loop", at("loop")).expect("link");
    nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).expect("fifo");
    let paths = [
        at("file"),
        at("dangling"),
        at("loop"),
        at("fifo"),
        at("missing"),
        at("file/below"),
        dir.path().to_owned(),
        "/proc/self/ns/mnt".into(),
        "/dev/null".into(),
        "relative\0zero".into(),
        "".into(),
    ];
    for path in paths {
        let Err(error) = open(&path).await else {
            panic!("{} was opened", path.display())
        };
        let error = CniError::from(error);
        assert!(error.is(Code::InvalidEnvironment), "{error}");
        assert!(
            error.msg.contains(&format!("CNI_NETNS {}", path.display())),
            "{error}"
        );
    }
}

#[tokio::test]
async fn links_of_the_namespace_are_listed() {
    plexus_api::rows!("P-080");
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    sandbox.link("net1", true).await;
    sandbox.link("net2", false).await;
    let mut netns = open(&sandbox.path()).await.expect("open");

    let links = netns.links().await.expect("links");
    let find = |name: &str| links.iter().find(|link| link.name == name).expect("link");
    assert_eq!(links.len(), 5, "lo and two pairs: {links:?}");
    assert!(find("net1").up && !find("net2").up && !find("lo").up);
    assert_ne!(find("net1").index, find("net2").index);
    let mac = &find("net1").mac;
    assert_eq!(
        mac.split(':')
            .filter(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok())
            .count(),
        6,
        "{mac}"
    );

    for (name, exists) in [
        ("net1", true),
        ("net2", true),
        ("lo", true),
        ("net3", false),
        ("net", false),
    ] {
        assert_eq!(netns.has_link(name).await.expect(name), exists, "{name}");
    }
    sandbox.link("net3", true).await;
    assert!(
        netns.has_link("net3").await.expect("net3"),
        "links are not cached"
    );
    let error = netns
        .has_link("a name that is too long")
        .await
        .map_err(CniError::from)
        .expect_err("too long");
    assert!(
        error.is(Code::Io) && error.msg.contains("too long"),
        "{error}"
    );
}

#[tokio::test]
async fn the_id_identifies_a_namespace_and_no_other_thread_enters_it() {
    let (Some(sandbox), Some(other)) = (Sandbox::new(), Sandbox::new()) else {
        return;
    };
    let own = fs::read_link("/proc/thread-self/ns/net").expect("own");
    let first = open(&sandbox.path()).await.expect("open").id();
    assert_eq!(open(&sandbox.path()).await.expect("open again").id(), first);
    assert_ne!(open(&other.path()).await.expect("open other").id(), first);
    assert_eq!(first.ino, sandbox.inode());
    assert_eq!(fs::read_link("/proc/thread-self/ns/net").expect("own"), own);
}

#[tokio::test]
async fn a_dropped_namespace_is_not_held() {
    plexus_api::rows!("R-071");
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let before = held(&sandbox);
    let mut netns = open(&sandbox.path()).await.expect("open");
    netns.links().await.expect("links");
    assert_eq!(
        held(&sandbox),
        (before.0, before.1 + 1),
        "one socket, no file"
    );
    drop(netns);
    assert_eq!(held(&sandbox), before);
}

/// Counts the open files of this process that are the namespace, and the netlink sockets in the
/// namespace.
fn held(sandbox: &Sandbox) -> (usize, usize) {
    let this = format!("net:[{}]", sandbox.inode());
    let files = fs::read_dir("/proc/self/fd")
        .expect("files")
        .filter(|file| {
            let target = file.as_ref().map(|file| fs::read_link(file.path()));
            matches!(target, Ok(Ok(target)) if target == Path::new(&this))
        })
        .count();
    // Protocol 0 is NETLINK_ROUTE. The kernel's own socket has port 0.
    let sockets = sandbox
        .inside(|| fs::read_to_string("/proc/thread-self/net/netlink").expect("sockets"))
        .lines()
        .map(|line| line.split_whitespace().skip(1).take(2).collect::<Vec<_>>())
        .filter(|fields| fields[0] == "0" && fields[1] != "0")
        .count();
    (files, sockets)
}
